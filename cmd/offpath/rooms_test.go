package main_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rooms are the top-level folders, each with those whose packages it may
// import: data flows one way.
var rooms = map[string][]string{
	"bpf":        {},
	"capture":    {"bpf"},
	"reassembly": {"capture"},
	"detect":     {"reassembly"},
	"mitigate":   {"detect"},
	"cmd":        {"bpf", "capture", "reassembly", "detect", "mitigate"},
}

// confined are packages that only some of ours may import: raw system calls
// and unsafe live in one internal package per kernel interface.
var confined = map[string][]string{
	"github.com/cilium/ebpf": {"offpath/bpf"},
	"unsafe":                 {"offpath/capture/afpacket/internal/", "offpath/capture/pcapfile/internal/", "offpath/detect/stream/schema", "offpath/bpf"},
}

func TestDataFlowsOneWay(t *testing.T) {
	type goPackage struct {
		ImportPath, Dir string
		Imports         []string
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "offpath/...").Output()
	require.NoError(t, err)
	for list := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			return
		}
		room := roomOf(p.ImportPath)
		allowed, ok := rooms[room]
		require.True(t, ok, "%s lies in no known room", p.ImportPath)
		root := p.ImportPath == "offpath/"+room
		for _, i := range p.Imports {
			for path, users := range confined {
				if i == path || strings.HasPrefix(i, path+"/") {
					assert.True(t, slices.ContainsFunc(users, func(u string) bool { return strings.HasPrefix(p.ImportPath, u) }), "%s imports %s", p.ImportPath, i)
				}
			}
			if !strings.HasPrefix(i, "offpath/") {
				continue
			}
			other := roomOf(i)
			assert.True(t, other == room || slices.Contains(allowed, other), "%s imports %s", p.ImportPath, i)
			assert.False(t, root && other == room, "the root package %s imports its own %s", p.ImportPath, i)
		}
	}
}

func roomOf(path string) string {
	room, _, _ := strings.Cut(strings.TrimPrefix(path, "offpath/"), "/")
	return room
}
