// Package evidence finds what there is about a finding or verdict among the
// contract's lines, and keeps the lines of a running offpath for that: in files
// of a folder, so that they outlive the process ([Store]).
//
// Lines are not held in memory. Who asks has them read through, which takes a
// moment for a store (128 MiB at most) and as long as it takes for files that
// are named. A Store may be used from any goroutine; [Find] keeps no state.
package evidence

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"offpath/capture"
	"offpath/cmd/offpath/internal/compressed"
)

// Bounds of what is found.
const (
	maxLine     = 1 << 20 // octets; a longer line is damage
	maxVerdicts = 1000    // that a finding is behind
)

// Account is what there is about an id. Lines are as they were written, without
// their line feed.
type Account struct {
	// Verdict is the latest line of the verdict, nil if the id is a finding's;
	// First is when the first was written, RFC 3339, and Lines how many.
	Verdict json.RawMessage
	First   string
	Lines   int
	// Findings are the latest lines of the findings behind the verdict, in its
	// order; or that of the finding itself. What is no longer kept is not there.
	Findings []json.RawMessage
	// Verdicts are the latest lines of the verdicts that the finding is behind, by
	// their first appearance, the first 1000; More is how many there are beyond.
	Verdicts []json.RawMessage
	More     int
}

// None reports whether nothing is known.
func (a *Account) None() bool { return a.Verdict == nil && len(a.Findings) == 0 }

// Source is somewhere lines are read from, each valid until line returns. An
// error of it is what is wrong with that line; after fs.SkipAll no more are read.
type Source func(line func(b []byte, offset int64) error) error

// head is what tells one line from another.
type head struct {
	Timestamp string `json:"@timestamp"`
	Event     struct {
		ID   string `json:"id"`
		Kind string `json:"kind"`
	} `json:"event"`
	Offpath struct {
		Action  string   `json:"action"`
		Finding []string `json:"finding"`
	} `json:"offpath"`
}

// Find reads through the sources, in their order, for what there is about an id.
func Find(id string, sources ...Source) (*Account, error) {
	a := &Account{}
	var finding json.RawMessage
	places := map[string]int{}
	beyond := map[string]bool{}
	var behind []string
	err := each(sources, []string{id}, func(h *head, line []byte) {
		switch {
		case h.Event.ID == id && h.Offpath.Action != "":
			if a.Lines++; a.Lines == 1 {
				a.First = h.Timestamp
			}
			if len(h.Offpath.Finding) > 0 { // a lift may name none
				behind = h.Offpath.Finding
			}
			a.Verdict = bytes.Clone(line)
		case h.Event.ID == id && h.Event.Kind != "":
			finding = bytes.Clone(line)
		case h.Offpath.Action != "" && slices.Contains(h.Offpath.Finding, id):
			at, known := places[h.Event.ID]
			switch {
			case known:
				a.Verdicts[at] = bytes.Clone(line)
			case len(a.Verdicts) < maxVerdicts:
				places[h.Event.ID] = len(a.Verdicts)
				a.Verdicts = append(a.Verdicts, bytes.Clone(line))
			case len(beyond) < 1<<20:
				beyond[h.Event.ID] = true
			}
		}
	})
	a.More = len(beyond)
	switch {
	case a.Verdict == nil && finding == nil:
		return &Account{}, err
	case a.Verdict == nil:
		a.Findings = []json.RawMessage{finding}
		return a, err
	}
	a.Verdicts, a.More = nil, 0
	if len(behind) == 0 {
		return a, err
	}
	found := make([]json.RawMessage, len(behind))
	again := each(sources, behind, func(h *head, line []byte) {
		if at := slices.Index(behind, h.Event.ID); at >= 0 && h.Event.Kind != "" {
			found[at] = bytes.Clone(line)
		}
	})
	a.Findings = slices.DeleteFunc(found, func(line json.RawMessage) bool { return line == nil })
	return a, errors.Join(err, damageBeside(err, again))
}

// damageBeside is an error of the second reading, unless the first had it too.
func damageBeside(first, second error) error {
	if first != nil && second != nil && first.Error() == second.Error() {
		return nil
	}
	return second
}

// each calls found with every line that holds one of the ids.
func each(sources []Source, ids []string, found func(h *head, line []byte)) error {
	var errs []error
	for _, source := range sources {
		errs = append(errs, source(func(line []byte, offset int64) error {
			if !slices.ContainsFunc(ids, func(id string) bool { return bytes.Contains(line, []byte(id)) }) {
				return nil
			}
			var h head
			if err := json.Unmarshal(line, &h); err != nil {
				return err
			}
			found(&h, line)
			return nil
		}))
	}
	return errors.Join(errs...)
}

// File is a source of one file of lines, which may be packed. Damage, which ends
// it, is a *capture.DamageError; a line that is none is skipped, and the first
// of them reported so.
func File(path string) Source {
	return func(line func([]byte, int64) error) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return &fs.PathError{Op: "read", Path: path, Err: errors.New("is a folder, not a file of JSON Lines")}
		}
		content, release, err := compressed.NewReader(f)
		if err != nil {
			return &capture.DamageError{File: path, Err: err}
		}
		defer release()
		return readLines(content, path, line)
	}
}

var errLong = fmt.Errorf("a line is longer than %d octets", maxLine)

func readLines(r io.Reader, name string, line func([]byte, int64) error) error {
	lines := bufio.NewReaderSize(r, 256<<10)
	var damage error
	note := func(offset int64, err error) {
		if damage == nil && err != nil {
			damage = &capture.DamageError{File: name, Offset: offset, Err: err}
		}
	}
	var long []byte // a line that the buffer did not hold
	skip := false
	for offset := int64(0); ; {
		part, err := lines.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			if skip = skip || len(long)+len(part) > maxLine; !skip {
				long = append(long, part...)
			}
			offset += int64(len(part))
			continue
		}
		whole := part
		start := offset
		if len(long) > 0 || skip {
			start -= int64(len(long))
			whole = append(long, part...)
		}
		switch {
		case skip || len(whole) > maxLine:
			note(start, errLong)
		default:
			if text := bytes.TrimSpace(whole); len(text) > 0 {
				err := line(text, start)
				if err == fs.SkipAll {
					return damage
				}
				note(start, err)
			}
		}
		long, skip = long[:0], false
		offset += int64(len(part))
		if err == io.EOF {
			return damage
		}
		if err != nil {
			note(offset, err)
			return damage
		}
	}
}
