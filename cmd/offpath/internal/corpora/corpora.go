// Package corpora judges what `offpath replay` reads in the captures of the
// corpora that lie beside the project by what other programs read in them. Only
// tests use it.
//
// [Load] lists the cases, [Parse] takes the transactions that replay wrote, and
// [Judge] compares. Each corpus has its own comparer, because each program says
// something else of a capture; the corpora's README tells what each means. What
// the other program doesn't say is not judged. [Known] reads the file of the
// cases that are known to differ, with the reason for each.
package corpora

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Case is a folder of the corpora: captures and what is expected of them.
type Case struct {
	ID         string // corpus/name
	Corpus     string
	Kind       string
	Tags       []string
	Judging    string // mechanical, oracle or advisory
	Oracle     string // file of what tshark reads; "" without one
	Crosscheck *struct{ Agrees bool }
	Pcaps      []string

	folder string
}

// Load reads the index of the corpora in a folder.
func Load(root string) ([]*Case, error) {
	var cases []*Case
	if err := readJSON(filepath.Join(root, "index.json"), &cases); err != nil {
		return nil, err
	}
	for _, c := range cases {
		c.folder = filepath.Join(root, filepath.FromSlash(c.ID))
	}
	return cases, nil
}

// Agrees reports whether the other program and tshark list the same requests.
func (c *Case) Agrees() bool { return c.Crosscheck != nil && c.Crosscheck.Agrees }

// Tagged reports whether the case has one of the tags.
func (c *Case) Tagged(tags ...string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(c.Tags, tag) })
}

// HTTPEvader reports whether the case is one of the evasions of a browser's
// download, which have a threshold of their own.
func (c *Case) HTTPEvader() bool {
	return strings.HasPrefix(c.ID, "suricata-verify/http-evader.")
}

// Captures are the paths of the captures.
func (c *Case) Captures() []string {
	var paths []string
	for _, name := range c.Pcaps {
		paths = append(paths, filepath.Join(c.folder, name))
	}
	return paths
}

// KeyLog is the path of the key log that TLS must be decrypted with, "" if there
// is none.
func (c *Case) KeyLog() string {
	path := filepath.Join(c.folder, "keylog.txt")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// expect reads expect.json, what the other program says, into v.
func (c *Case) expect(v any) error {
	return readJSON(filepath.Join(c.folder, "expect.json"), v)
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
