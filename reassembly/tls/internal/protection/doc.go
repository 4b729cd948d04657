// Package protection is what protects TLS records: cipher suites, the derivation
// of keys, and the opening of records of one direction.
//
// It only opens. An Opener hands out octets that it has authenticated, and none
// else. It is for one goroutine; Open allocates nothing once it has run, if its
// destination is large enough.
//
// It is for an observer who answers nobody, so nothing here hides in its timing
// whether padding or tag was wrong.
package protection
