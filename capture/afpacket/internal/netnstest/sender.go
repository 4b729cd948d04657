package netnstest

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Sender sends raw frames on one interface.
type Sender struct {
	fd       int
	messages []message
	vectors  []unix.Iovec
}

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// sendBatch is the number of frames of one system call.
const sendBatch = 64

// NewSender opens a sender on an interface of the namespace. With bypass,
// frames go to the driver without queueing, and are lost if it can't take
// them.
func (n *Namespace) NewSender(t testing.TB, iface string, bypass bool) *Sender {
	t.Helper()
	s := &Sender{messages: make([]message, sendBatch), vectors: make([]unix.Iovec, sendBatch)}
	var err error
	n.Do(func() { s.fd, err = openSender(iface, bypass) })
	require.NoError(t, err, "open sender on %s", iface)
	t.Cleanup(func() { require.NoError(t, unix.Close(s.fd)) })
	return s
}

func openSender(iface string, bypass bool) (int, error) {
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index})
	if err == nil && bypass {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Send sends the frames in their order and returns when the other end of a
// virtual cable has got all of them.
func (s *Sender) Send(t testing.TB, frames ...[]byte) {
	t.Helper()
	for len(frames) > 0 {
		n := min(len(frames), sendBatch)
		for i, frame := range frames[:n] {
			s.vectors[i] = unix.Iovec{Base: &frame[0]}
			s.vectors[i].SetLen(len(frame))
			s.messages[i].header = unix.Msghdr{Iov: &s.vectors[i]}
			s.messages[i].header.SetIovlen(1)
		}
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[0])), uintptr(n), 0, 0, 0)
		runtime.KeepAlive(frames)
		if errno == unix.EINTR || errno == unix.ENOBUFS {
			continue
		}
		require.Zero(t, errno, "send frames: %v", errno)
		frames = frames[sent:]
	}
}
