package afpacket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// child is the environment variable by which a test runs this binary again as
// another process: it names the one of children to run.
const child = "OFFPATH_TEST_CHILD"

// unsupported is the exit status of a child that can't do its part here.
const unsupported = 3

// children are what tests do in a process of their own.
var children = map[string]func() error{
	"drop privileges":   dropPrivilegesChild,
	"raw sockets alone": rawSocketsChild,
}

func TestMain(m *testing.M) {
	if f, found := children[os.Getenv(child)]; found {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if errors.Is(err, errors.ErrUnsupported) {
				os.Exit(unsupported)
			}
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The runtime opens descriptors of its own with the first connection.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	before := descriptors()
	code := m.Run()
	if after := descriptors(); code == 0 && len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "leaked file descriptors: %v before, %v after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// descriptors lists the open file descriptors of the kinds that a Source has:
// sockets, events, eBPF programs and files of procfs.
func descriptors() []string {
	var open []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		for _, kind := range []string{"socket:", "anon_inode:[eventfd]", "anon_inode:bpf", "/net/dev"} {
			if strings.Contains(target, kind) {
				open = append(open, link+" "+target)
			}
		}
	}
	return open
}
