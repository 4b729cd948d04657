package lease

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"offpath/cmd/lab/internal/netns"
)

// patience is how long killed processes are waited for.
const patience = 3 * time.Second

// namespaces lists the paths of the named namespaces that begin with the
// laboratory's prefix and the given run ("" for all runs).
func namespaces(run string) ([]string, error) {
	return filepath.Glob(filepath.Join(netns.Folder, prefix+run+"*"))
}

// remove kills what lives in a run's namespaces, deletes them, and removes
// the run's folder. It is not an error if there is nothing.
func remove(pid int) error {
	spaces, err := namespaces(strconv.Itoa(pid) + "-")
	if err != nil {
		return err
	}
	var failed []error
	if err := evict(spaces, pid); err != nil {
		failed = append(failed, err)
	}
	for _, path := range spaces {
		out, err := exec.Command("ip", "netns", "delete", filepath.Base(path)).CombinedOutput()
		// A janitor may be at the same work: gone is gone.
		if _, missing := os.Stat(path); err != nil && missing == nil {
			failed = append(failed, fmt.Errorf("delete namespace %s: %w: %s", filepath.Base(path), err, out))
		}
	}
	return errors.Join(append(failed, os.RemoveAll(folder(pid)))...)
}

// evict kills every process inside the namespaces, the run itself aside (its
// threads are only visitors there), and waits until they are gone.
func evict(spaces []string, run int) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		found, err := inhabitants(spaces)
		if err != nil {
			return err
		}
		left := 0
		for _, pid := range found {
			if pid == run || pid == os.Getpid() {
				continue
			}
			left++
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes in %v outlive SIGKILL by %v", left, spaces, patience)
		}
	}
}

// inhabitants lists the processes whose main thread is in one of the
// namespaces. Zombies are in none.
func inhabitants(spaces []string) ([]int, error) {
	homes := map[string]bool{}
	for _, path := range spaces {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err == nil {
			homes[fmt.Sprintf("net:[%d]", st.Ino)] = true
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		home, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/net"))
		if err == nil && homes[strings.TrimSpace(home)] {
			found = append(found, pid)
		}
	}
	return found, nil
}
