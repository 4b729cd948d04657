package pull

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxJournal is the most lines that are read; slack how many lines more than needed a
// journal may grow to before it is written anew.
const (
	maxJournal = 1 << 22
	slack      = 4096
)

// journal remembers what may be at consumers, over a restart: a line `NETWORK SECOND` for
// each item that was published, before it is, with the last second at which a consumer may
// hold it. A line that is not whole, as after a crash, is none.
type journal struct {
	path  string // empty: nothing is remembered
	file  *os.File
	lines int
}

// openJournal reads what there is into a map, that is, what some consumer may still hold
// or wait for.
func openJournal(path string, now time.Time) (*journal, map[netip.Prefix]int64, error) {
	j := &journal{path: path}
	if path == "" {
		return j, nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("make folder of what was published: %w", err)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read what was published: %w", err)
	}
	defer file.Close()
	held, err := readJournal(file, now.Unix())
	if err != nil {
		return nil, nil, fmt.Errorf("read what was published: %w", err)
	}
	return j, held, nil
}

func readJournal(r io.Reader, now int64) (map[netip.Prefix]int64, error) {
	held := make(map[netip.Prefix]int64)
	lines := bufio.NewReaderSize(r, 4096)
	for range maxJournal {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return held, nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue // part of a line that is none of ours
		case err != nil:
			return nil, err
		}
		p, end, ok := parseLine(line, now)
		if ok && end+remembered > now {
			held[p] = max(held[p], end)
		}
	}
	return held, nil
}

func parseLine(line []byte, now int64) (p netip.Prefix, end int64, ok bool) {
	network, second, ok := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), " ")
	if !ok {
		return p, 0, false
	}
	p, err := netip.ParsePrefix(network)
	if err != nil || canonical(p) != p {
		return p, 0, false
	}
	// No verdict lives longer than a day: what says so is damaged.
	end, err = strconv.ParseInt(second, 10, 64)
	return p, end, err == nil && end > 0 && end <= now+2*86400
}

func writeLine(b *bytes.Buffer, p netip.Prefix, end int64) {
	fmt.Fprintf(b, "%s %d\n", p, end)
}

// add writes lines of items that are to be published. They are on the disk when it returns
// nil. all are those that a journal that has grown too long is to begin anew with.
func (j *journal) add(fresh map[netip.Prefix]int64, all map[netip.Prefix]*Item) error {
	if j.path == "" || len(fresh) == 0 {
		return nil
	}
	if j.file == nil || j.lines+len(fresh) > 2*(len(all)+len(fresh))+slack {
		if err := j.renew(all); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	for p, end := range fresh {
		writeLine(&b, p, end)
	}
	_, err := j.file.Write(b.Bytes())
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.close() // what it has is not known: the next one begins anew
		return fmt.Errorf("write down what is to be published: %w", err)
	}
	j.lines += len(fresh)
	return nil
}

// renew writes the journal anew, beside the old one, and puts it in its place.
func (j *journal) renew(all map[netip.Prefix]*Item) error {
	j.close()
	var b bytes.Buffer
	for p, it := range all {
		writeLine(&b, p, it.held)
	}
	next := j.path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write down what is published: %w", err)
	}
	_, err = file.Write(b.Bytes())
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("write down what is published: %w", err)
	}
	j.file, j.lines = file, len(all)
	return nil
}

func (j *journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}
