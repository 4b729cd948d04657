package service

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"offpath/cmd/offpath/internal/logging"
	"offpath/reassembly/tls/keylog"
)

// keyLogPoll is how often it is looked whether the key log has grown.
const keyLogPoll = 200 * time.Millisecond

// maxKeyLogLine bounds a line that has no end yet, octets; longer ones are none
// of a key log.
const maxKeyLogLine = 4 << 10

// followKeyLog adds what the key log at path holds, and what is appended to it,
// until ctx is done. The file may come later, be truncated or be replaced: then
// it is read from its beginning.
func followKeyLog(ctx context.Context, path string, store *keylog.Store, log logging.Log) {
	f := keyLogFile{path: path, store: store}
	defer f.close()
	tick := time.NewTicker(keyLogPoll)
	defer tick.Stop()
	told := ""
	for {
		if err := f.read(); err == nil {
			told = ""
		} else if text := err.Error(); text != told {
			log.Warn().Str("path", path).Err(err).Msg("the key log can't be read; connections that need it stay encrypted")
			told = text
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keyLogFile is a key log that is read as it grows.
type keyLogFile struct {
	path  string
	store *keylog.Store
	file  *os.File // nil: not open
	rest  []byte   // of a line whose end has not come
}

func (f *keyLogFile) close() {
	if f.file != nil {
		f.file.Close()
		f.file, f.rest = nil, nil
	}
}

// read adds what has come since it was called last.
func (f *keyLogFile) read() error {
	if f.file != nil && f.replaced() {
		f.close()
	}
	if f.file == nil {
		var err error
		if f.file, err = os.Open(f.path); err != nil {
			f.file = nil
			return err
		}
	}
	in := bufio.NewReaderSize(f.file, 64<<10)
	for {
		part, err := in.ReadSlice('\n')
		f.rest = append(f.rest, part...)
		switch {
		case err == nil:
			f.store.Add(f.rest)
			f.rest = f.rest[:0]
		case len(f.rest) > maxKeyLogLine:
			f.rest = f.rest[:0] // what is left of the line is taken for one of its own, and is none
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			f.close()
			return err
		}
	}
}

// replaced reports whether the path leads to another file now, or the file has
// become shorter than what was read.
func (f *keyLogFile) replaced() bool {
	open, err := f.file.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(f.path)
	if err != nil || !os.SameFile(open, now) {
		return true
	}
	at, err := f.file.Seek(0, io.SeekCurrent)
	return err != nil || now.Size() < at
}
