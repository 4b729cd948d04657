package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// probeTimeout bounds the question whether somebody listens on a socket.
const probeTimeout = time.Second

// socket is the admin socket and the lock that goes with it.
type socket struct {
	net.Listener
	lock *os.File
}

// listenUnix binds the admin socket with mode 0600. What an offpath that died
// has left there is replaced; where one lives, or where something else than a
// socket stands, it is an error. A lock file beside the socket decides
// between two that start at the same time.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of admin socket: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock admin socket: %w", err)
	}
	l, err := bindLocked(path, lock)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &socket{l, lock}, nil
}

func bindLocked(path string, lock *os.File) (net.Listener, error) {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("admin socket %s belongs to another offpath that is running", path)
		}
		return nil, fmt.Errorf("lock admin socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	before := unix.Umask(0o177) // so that the socket never has a wider mode than 0600
	l, err := net.Listen("unix", path)
	unix.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("listen on admin socket: %w", err)
	}
	return l, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("admin socket %s: something else than a socket stands there; remove it or set another admin.socket", path)
	}
	if c, err := net.DialTimeout("unix", path, probeTimeout); err == nil {
		c.Close()
		return fmt.Errorf("admin socket %s: another program listens there", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale admin socket: %w", err)
	}
	return nil
}

// Close removes the socket and gives up the lock.
func (s *socket) Close() error {
	return errors.Join(s.Listener.Close(), s.lock.Close())
}
