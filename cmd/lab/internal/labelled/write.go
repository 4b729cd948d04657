package labelled

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// file is a buffered file being written.
type file struct {
	*bufio.Writer
	f *os.File
}

func create(path string) (*file, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &file{bufio.NewWriterSize(f, 1<<20), f}, nil
}

func (f *file) close() error { return errors.Join(f.Flush(), f.f.Close()) }

// Told is labelled traffic; see judge.Source.
type Told interface {
	Next(tx *reassembly.Transaction) (traffic.Truth, bool)
}

// WriteLines writes a scenario as transactions with labels, and says how many
// there are.
func WriteLines(dir, name string, run Told) (n int, err error) {
	transactions, err := create(filepath.Join(dir, name+linesEnd))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, transactions.close()) }()
	marks, err := create(filepath.Join(dir, name+labelsEnd))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, marks.close()) }()
	encoder := json.NewEncoder(marks)
	var (
		lines jsonl.Encoder
		text  []byte
		tx    reassembly.Transaction
	)
	for {
		truth, more := run.Next(&tx)
		if !more {
			return n, nil
		}
		n++
		text = append(lines.Append(text[:0], &tx), '\n')
		if _, err := transactions.Write(text); err != nil {
			return n, fmt.Errorf("write transaction %d: %w", n, err)
		}
		if err := encoder.Encode(lineOf(tx.ID, truth)); err != nil {
			return n, fmt.Errorf("write label %d: %w", n, err)
		}
	}
}
