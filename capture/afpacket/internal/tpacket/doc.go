// Package tpacket is the kernel's packet socket with a TPACKET_V3 receive ring
// (packet(7), Documentation/networking/packet_mmap.rst): the only place of
// capture/afpacket with raw system calls and unsafe memory.
//
// A [Ring] is a socket on one interface and the memory that it shares with the
// kernel, divided into blocks. The kernel fills a block with frames and hands
// it over when it is full or RetireAfter old; the process hands it back with
// [Ring.Release]. Nothing is copied: a [Frame] is a view into the block.
//
// One goroutine at a time reads a Ring; Stats, Link and Reject may be called
// from others as well. Nothing is ever sent.
package tpacket
