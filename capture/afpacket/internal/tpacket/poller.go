package tpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits until one of several rings has a block, or Wake is called. One
// goroutine waits; Wake may be called from any other.
type Poller struct {
	rings []*Ring
	fds   []unix.PollFd // of the rings, then of the event
	event int
}

// NewPoller returns a Poller of the rings.
func NewPoller(rings []*Ring) (*Poller, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make event to wake by: %w", err)
	}
	return &Poller{rings: rings, fds: make([]unix.PollFd, len(rings)+1), event: event}, nil
}

// Watch says whether Wait waits for the ring of this number. All are unwatched
// at first.
func (p *Poller) Watch(ring int, on bool) {
	// poll(2) passes over negative descriptors.
	p.fds[ring] = unix.PollFd{Fd: -1}
	if on {
		p.fds[ring] = unix.PollFd{Fd: int32(p.rings[ring].fd), Events: unix.POLLIN}
	}
}

// Wait returns when a watched ring has a block or an error, after Wake, or
// after the timeout, whichever is first. It takes timeouts in full
// milliseconds, rounded up.
func (p *Poller) Wait(timeout time.Duration) error {
	p.fds[len(p.rings)] = unix.PollFd{Fd: int32(p.event), Events: unix.POLLIN}
	milliseconds := int((timeout + time.Millisecond - 1) / time.Millisecond)
	if _, err := unix.Poll(p.fds, milliseconds); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for frames: %w", err)
	}
	if p.fds[len(p.rings)].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(p.event, count[:]) // EAGAIN if it was read before
	}
	return nil
}

// Failed returns the error that the socket of the ring reported in the last
// Wait, once, or nil. The usual one is ENETDOWN.
func (p *Poller) Failed(ring int) error {
	fd := p.fds[ring]
	if fd.Fd < 0 || fd.Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) == 0 {
		return nil
	}
	code, err := unix.GetsockoptInt(int(fd.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	return unix.Errno(code)
}

// Wake has Wait return, now or when it is called next.
func (p *Poller) Wake() {
	var count [8]byte
	binary.NativeEndian.PutUint64(count[:], 1)
	_, _ = unix.Write(p.event, count[:]) // EAGAIN if the counter is at its limit: it wakes all the same
}

// Close gives back the event. It must not run at the same time as another
// method.
func (p *Poller) Close() error { return unix.Close(p.event) }
