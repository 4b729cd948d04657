// Package fdwait waits until a file descriptor has something to read, or until
// the wait is called off. It serves standard input and named pipes, on which a
// read can't be interrupted otherwise.
package fdwait

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Reader reads from a file until its context is done; then Read returns the
// context's error. Read is for one goroutine.
type Reader struct {
	file       *os.File
	ctx        context.Context
	wake, done *os.File // the ends of a pipe; closing done wakes the wait
	stop       func() bool
}

// NewReader returns a Reader on f, which stays the caller's to close, after
// the Reader.
func NewReader(ctx context.Context, f *os.File) (*Reader, error) {
	wake, done, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make wake-up pipe: %w", err)
	}
	r := &Reader{file: f, ctx: ctx, wake: wake, done: done}
	r.stop = context.AfterFunc(ctx, func() { done.Close() })
	return r, nil
}

// Read reads what is there, and waits if nothing is.
func (r *Reader) Read(p []byte) (int, error) {
	fds := []unix.PollFd{
		{Fd: int32(r.file.Fd()), Events: unix.POLLIN},
		{Fd: int32(r.wake.Fd()), Events: unix.POLLIN},
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return 0, fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents != 0 {
			return r.file.Read(p)
		}
	}
}

// Close frees the wake-up pipe.
func (r *Reader) Close() error {
	if r.stop() {
		r.done.Close()
	}
	return r.wake.Close()
}
