// Package lease makes everything a run of the laboratory started go away with
// it: namespaces, the processes inside them, and its folder.
//
// A [Lease] is a folder that carries the run's process id and is locked
// (flock(2)) as long as the run lives. Beside the run stands a janitor, a
// process of its own that waits on a pipe: when the run closes it, or dies in
// whatever way, the janitor kills every process found inside the run's
// namespaces, deletes them and removes the folder. There is no second way of
// tidying up, so the one there is is taken every time. What a janitor that was
// itself killed left behind, the next run removes.
//
// Nothing outside namespaces and folders named after a run is touched.
package lease

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prefix of the names of everything that outlives a process.
const prefix = "offlab-"

// Lease is one run's claim.
type Lease struct {
	Dir string // the run's folder; gone after Release

	pid     int
	lock    *os.File
	janitor *exec.Cmd
	leash   io.Closer // closing it lets the janitor loose
}

// Take removes the leftovers of dead runs and starts a run. The janitor is
// started as self with the given arguments and the run's process id behind
// them; they have to lead to [Janitor].
func Take(self string, args ...string) (*Lease, error) {
	if err := sweep(); err != nil {
		return nil, fmt.Errorf("remove leftovers of earlier runs: %w", err)
	}
	pid := os.Getpid()
	l := &Lease{Dir: folder(pid), pid: pid}
	if err := os.Mkdir(l.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if l.lock, err = lock(l.Dir); err != nil {
		os.RemoveAll(l.Dir)
		return nil, err
	}
	l.janitor = exec.Command(self, append(args, strconv.Itoa(pid))...)
	l.janitor.Stderr = os.Stderr
	// A session of its own: Ctrl-C on the terminal must not reach it.
	l.janitor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.leash, err = l.janitor.StdinPipe()
	if err == nil {
		err = l.janitor.Start()
	}
	if err != nil {
		l.lock.Close()
		os.RemoveAll(l.Dir)
		return nil, fmt.Errorf("start janitor: %w", err)
	}
	return l, nil
}

// Namespace returns the name of one of the run's namespaces.
func (l *Lease) Namespace(part string) string { return prefix + strconv.Itoa(l.pid) + "-" + part }

// Release lets the janitor tidy up and waits for it.
func (l *Lease) Release() error {
	defer l.lock.Close()
	l.leash.Close()
	if err := l.janitor.Wait(); err != nil {
		return fmt.Errorf("janitor: %w", err)
	}
	return nil
}

// Janitor waits until the run that started it releases its lease or dies, and
// then removes everything of it.
func Janitor(run string) error {
	pid, err := strconv.Atoi(run)
	if err != nil || pid <= 1 {
		return fmt.Errorf("%q is not a process id", run)
	}
	// Whatever arrives or breaks, what follows is the right thing to do.
	_, _ = io.Copy(io.Discard, os.Stdin)
	return remove(pid)
}

func folder(pid int) string {
	return filepath.Join(os.TempDir(), prefix+strconv.Itoa(pid))
}

// lock takes the lock of a run's folder without waiting.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// sweep removes what dead runs left behind.
func sweep() error {
	runs := map[int]bool{}
	names, err := namespaces("")
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range append(names, dirs...) {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if pid, err := strconv.Atoi(id); err == nil && pid > 1 {
			runs[pid] = true
		}
	}
	var failed []error
	for pid := range runs {
		// The lock, not the process id, says whether a run lives: ids are
		// used again.
		f, err := lock(folder(pid))
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		failed = append(failed, remove(pid))
		if f != nil {
			f.Close()
		}
	}
	return errors.Join(failed...)
}
