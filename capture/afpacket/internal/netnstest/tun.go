package netnstest

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// NewTun makes a tun interface, which is up. Each write is an IP packet that
// comes in through it. It skips the test where there is no tun driver.
func (n *Namespace) NewTun(t testing.TB, name string) *os.File {
	t.Helper()
	var fd int
	var err error
	n.Do(func() { fd, err = openTun(name) })
	if err != nil {
		t.Skipf("no tun interface can be made here: %v", err)
	}
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	n.IP(t, "link", "set", name, "up")
	return f
}

func openTun(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("make tun interface: %w", err)
	}
	return fd, nil
}
