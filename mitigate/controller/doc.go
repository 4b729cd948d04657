// Package controller makes every target agree with the active verdicts and
// stay so.
//
// It keeps the desired state: the active verdicts by id, of which per subject
// the strictest is in force; the allow-list; the mode and the kill switch.
// Per target three goroutines reconcile it: the worker (verdicts, allow-list;
// deltas while all is well, a full comparison after a connect, a restart
// of the load balancer and by timer), the keeper of the mode, so that the
// kill switch never waits behind a bulk load, and the one that reads hits and
// removes what has expired. A target that is down delays
// nobody: what it misses is put right when it is back. One more goroutine, the
// clerk, ends expired verdicts and writes to the disk.
//
// Apply, Lift and the rest change the desired state under a lock that is never
// held during I/O to a target.
//
// Rails that every verdict passes: its id, action and rate make sense; it
// lives no longer than 24 h; its network is no wider than /16 or /32; it
// overlaps neither the allow-list nor an address of the installation, nor a
// private one. Beyond others it waits for a person's approval: a network wider
// than /24 or /48, more expected harm than MaxHarm, more new verdicts than
// MaxPerMinute. There are at most MaxVerdicts; the least important makes room.
//
// With a StateDir a restarted controller remembers its active verdicts, what
// was lifted, and that it was off. When it stops it leaves the verdicts in
// force: they end by the load balancer's own clock.
//
// It decides nothing, computes no collateral and does not watch the wire.
package controller
