// Package afpacket captures live from network interfaces through TPACKET_V3
// rings of AF_PACKET sockets, without cgo.
//
// # Rings and workers
//
// Each worker has one ring on each interface. The rings of an interface are a
// fanout group, in which the eBPF program of package bpf gives both directions
// of a connection to the same worker: that of number [decode.Shard] % workers. The
// program has no key, so Packet.Shard, which has one, says nothing of the worker: each
// has flows of all shards. Where eBPF can't be loaded the kernel's flow
// hash takes its place ([Source.Steering] says so): it keeps connections
// together too, but divides them otherwise.
//
// The kernel looks at the outermost packet. Connections inside tunnels, and
// datagrams in IP fragments, which go by their addresses alone, may come to a
// worker that is not theirs: it decodes them, puts fragments together, and hands
// a copy over to the worker that the program would have chosen, in batches, through
// an inbox of 16 MiB each; what doesn't fit is dropped and counted (HandOverDrops).
// So all packets of a connection meet, whatever they are wrapped in. A packet that
// was handed over takes the clock of the worker that gets it, a few milliseconds
// late; frames are recorded where and as they are delivered. Only where the
// kernel's hash steers, nobody knows to whom the other packets of an untunnelled
// connection go: there fragments stay fragments (DispositionFragment).
//
// [Open] returns when every ring captures: a frame that arrives after that is
// delivered or counted. Frames from before, or of other interfaces, never come
// through.
//
// # Goroutines, memory, order
//
// [Source.Run] starts one goroutine for each worker, locked to its thread,
// which alone reads the worker's rings and calls the handler. Frames are not
// copied: a packet is a view into a block of the ring, which goes back to the
// kernel when the handler returns. While the handler takes long the ring
// fills; when it is full the kernel drops frames and counts them
// (KernelDrops, RingFreezes).
//
// The frames of a worker's rings are merged by time. With several interfaces,
// a frame waits until every other interface has shown a later one, or for
// idleMargin. Times never go back within a worker: a frame stamped earlier
// than one before it (TimeBackwards) gets the time of that one, so that a
// recording replays as it was seen. If the wall clock is set back, times stand
// still until it has caught up.
//
// An idle worker gets empty batches whose clock follows the wall clock at a
// distance of idleMargin.
//
// # Frames
//
// The kernel strips the outermost VLAN tag; it is put back into the frame,
// priority bits included, so that packets and recordings hold what was on the
// wire. On a veth, or with receive
// offload, frames are super-frames of up to 64 KiB and more: they are taken
// whole, unless Options.SnapLength cuts them (SnapLengthCut).
//
// Frames that this host itself sends on the interface are captured too: on a
// load balancer they are half of every connection. On a dedicated mirror port
// there are none. On a loopback interface every frame would appear twice, so
// there the outgoing copy is ignored, as everywhere with
// Options.IgnoreOutgoing.
//
// Nothing is ever sent.
//
// # Interfaces that fail
//
// An interface that goes down is counted, and capture goes on when it comes up
// again. One that is removed is given up, since making new sockets takes
// privileges that the process has dropped; Run goes on with the others and
// returns [ErrInterfaceGone] after the last. [Source.Interfaces] tells.
//
// # Privileges
//
// Open needs CAP_NET_RAW, and CAP_BPF (CAP_SYS_ADMIN before Linux 5.8) for
// steering by eBPF. After it, nothing here needs any: call [DropPrivileges].
package afpacket
