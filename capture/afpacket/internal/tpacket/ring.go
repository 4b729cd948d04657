package tpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// BlockSize is the size of a block in octets, which bounds the length of a
// frame: super-frames of segmentation offload have up to 64 KiB, of BIG TCP as
// a rule less than 200 KiB; what is longer is cut, and counted so. A ring whose
// reader stalls fills at one block per RetireAfter however little traffic there
// is, so the smaller the block, the longer the stall that loses nothing.
const BlockSize = 512 << 10

// RetireAfter is the age at which the kernel hands over a block that has
// frames but is not full.
const RetireAfter = 10 * time.Millisecond

// frameSize only has to divide BlockSize: blocks of TPACKET_V3 hold frames of
// any length.
const frameSize = 2048

// Options are what a Ring is made of.
type Options struct {
	Ifindex        int
	Blocks         int  // blocks of BlockSize in the ring, 1 or more
	IgnoreOutgoing bool // don't take frames that this host sends
}

// Ring is a packet socket bound to an interface, with its receive ring.
type Ring struct {
	fd     int
	mem    []byte
	blocks [][]byte
	next   int // the block that the kernel hands over next

	mu    sync.Mutex // of what follows
	stats Stats
}

// Stats are counts since the ring was opened. They only grow.
type Stats struct {
	Packets uint64 // frames put into the ring
	Drops   uint64 // frames dropped because the ring was full
	Freezes uint64 // times the ring was full
}

// Open makes a ring on an interface that is up. It takes no frame before Start.
//
// The socket is opened for protocol 0, so that it isn't given frames of all
// interfaces until it is bound to the one, and a filter that rejects
// everything stands until Start: neither a frame from before the ring existed
// nor one from before the fanout group was complete can come through.
func Open(o Options) (*Ring, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	r := &Ring{fd: fd}
	if err := r.setUp(o); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Ring) setUp(o Options) error {
	if err := r.Reject(); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("set ring version 3: %w", err)
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, vlanTagLen); err != nil {
		return fmt.Errorf("reserve room for the VLAN tag: %w", err)
	}
	if o.IgnoreOutgoing {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("ignore outgoing frames: %w", err)
		}
	}
	if err := r.allocate(o.Blocks); err != nil {
		return err
	}
	return r.bind(o.Ifindex)
}

func (r *Ring) allocate(blocks int) error {
	err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
		Block_size:     BlockSize,
		Block_nr:       uint32(blocks),
		Frame_size:     frameSize,
		Frame_nr:       uint32(blocks * (BlockSize / frameSize)),
		Retire_blk_tov: uint32(RetireAfter.Milliseconds()),
	})
	if err != nil {
		return fmt.Errorf("allocate a ring of %d MiB: %w", blocks*BlockSize>>20, err)
	}
	r.mem, err = unix.Mmap(r.fd, 0, blocks*BlockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a ring of %d MiB: %w", blocks*BlockSize>>20, err)
	}
	r.blocks = make([][]byte, blocks)
	for i := range r.blocks {
		r.blocks[i] = r.mem[i*BlockSize : (i+1)*BlockSize : (i+1)*BlockSize]
	}
	return nil
}

// bind attaches the socket to the interface, for frames of every protocol.
func (r *Ring) bind(ifindex int) error {
	err := unix.Bind(r.fd, &unix.SockaddrLinklayer{
		Protocol: networkOrder(unix.ETH_P_ALL),
		Ifindex:  ifindex,
	})
	if err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}

// Promiscuous has the interface take frames addressed to others, until the
// ring is closed.
func (r *Ring) Promiscuous(ifindex int) error {
	err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{
		Ifindex: int32(ifindex),
		Type:    unix.PACKET_MR_PROMISC,
	})
	if err != nil {
		return fmt.Errorf("set promiscuous mode: %w", err)
	}
	return nil
}

// Start lets frames in, cut to snapLength octets.
func (r *Ring) Start(snapLength int) error { return r.filter(uint32(snapLength)) }

// Reject lets no more frames in. What the ring holds stays.
func (r *Ring) Reject() error { return r.filter(0) }

// filter attaches a program of one instruction that returns how many octets of
// a frame to take. Attaching replaces the program before in one step.
func (r *Ring) filter(octets uint32) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: octets}}
	err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: uint16(len(program)), Filter: &program[0],
	})
	if err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

// Block returns the frames of the next block if the kernel has handed it over.
// They are valid until Release.
func (r *Ring) Block() (Frames, bool) {
	block := r.blocks[r.next]
	h := blockHeaderAt(block)
	if !h.ready() {
		return Frames{}, false
	}
	return Frames{block: block, off: int(h.bh1.Offset_to_first_pkt), left: h.bh1.Num_pkts}, true
}

// Release gives the block that Block returned back to the kernel.
func (r *Ring) Release() {
	blockHeaderAt(r.blocks[r.next]).release()
	r.next++
	if r.next == len(r.blocks) {
		r.next = 0
	}
}

// Stats returns the counts up to now; after Close, those up to Close.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readStats()
	return r.stats
}

// readStats adds what the kernel has counted since it was last asked: reading
// resets its counters. It fails only on a closed socket.
func (r *Ring) readStats() {
	if r.fd < 0 {
		return
	}
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return
	}
	r.stats.Packets += uint64(s.Packets - s.Drops) // the kernel counts drops among the packets
	r.stats.Drops += uint64(s.Drops)
	r.stats.Freezes += uint64(s.Freeze_q_cnt)
}

// Close gives back the socket and the ring's memory, which must not be used
// any more. It must not run at the same time as any method but Stats.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 {
		return nil
	}
	r.readStats()
	var unmapped error
	if r.mem != nil {
		unmapped = unix.Munmap(r.mem)
		r.mem, r.blocks = nil, nil
	}
	closed := unix.Close(r.fd)
	r.fd = -1
	return errors.Join(unmapped, closed)
}

// Memory is the size of the machine's memory in octets.
func Memory() (uint64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("read size of memory: %w", err)
	}
	return uint64(info.Totalram) * uint64(info.Unit), nil
}

// networkOrder returns v such that its octets in memory are in network order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
