package labelled

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"offpath/capture/pcapfile"
	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
	"offpath/reassembly/content"
	"offpath/reassembly/jsonl"
	"offpath/reassembly/order"
	"offpath/reassembly/pipeline"
)

// Capture is a labelled capture in a folder.
type Capture struct {
	Name   string
	input  string
	labels string
}

// Find lists the captures of a folder by name.
func Find(dir string) ([]Capture, error) {
	marks, err := filepath.Glob(filepath.Join(dir, "*"+labelsEnd))
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", dir, err)
	}
	var list []Capture
	for _, path := range marks {
		base := strings.TrimSuffix(path, labelsEnd)
		c := Capture{Name: filepath.Base(base), labels: path}
		for _, end := range []string{linesEnd, ".pcap", ".pcapng", ".pcap.gz", ".pcapng.gz", ".pcap.zst", ".pcapng.zst"} {
			if _, err := os.Stat(base + end); err == nil {
				c.input = base + end
				break
			}
		}
		if c.input == "" {
			return nil, fmt.Errorf("%s: there is neither %s%s nor a capture of that name", path, c.Name, linesEnd)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("folder %s: no file ends in %s", dir, labelsEnd)
	}
	return list, nil
}

// Source is an open capture; see judge.Source.
type Source struct {
	// Attack says that some request is labelled an attack.
	Attack bool
	// ByRole says that no label tells which requests are logins.
	ByRole bool

	labels *labels
	next   func() (*reassembly.Transaction, error) // nil, nil at the end
	close  func()
	err    error
}

// Open opens a capture. Of packets the forwarding headers of trusted networks are
// believed.
func (c *Capture) Open(ctx context.Context, trusted []netip.Prefix) (*Source, error) {
	all, err := readLabels(c.labels)
	if err != nil {
		return nil, err
	}
	s := &Source{Attack: all.attack, ByRole: !all.logins, labels: all}
	if strings.HasSuffix(c.input, linesEnd) {
		return s, s.openLines(c.input)
	}
	return s, s.openPackets(ctx, c.input, trusted)
}

func (s *Source) openLines(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	r := jsonl.NewReader(f)
	s.close = func() { f.Close() }
	s.next = func() (*reassembly.Transaction, error) {
		if r.Next() {
			return r.Transaction(), nil
		}
		if r.Err() != nil {
			return nil, fmt.Errorf("%s: %w", path, r.Err())
		}
		return nil, nil
	}
	return nil
}

// openPackets has a goroutine read the packets, which ends with them or when the
// Source is closed.
func (s *Source) openPackets(ctx context.Context, path string, trusted []netip.Prefix) error {
	source, err := pcapfile.Open([]string{path}, pcapfile.Options{Workers: 1})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	batches := make(chan []*reassembly.Transaction)
	hand := func(txs []*reassembly.Transaction, _ int64) {
		if len(txs) == 0 {
			return
		}
		select {
		case batches <- txs:
		case <-ctx.Done():
		}
	}
	merger := order.New(1, hand)
	p, err := pipeline.New(pipeline.Config{Content: content.Config{Key: make([]byte, content.MinKey), TrustedProxies: trusted}},
		func(worker int, txs []*reassembly.Transaction, watermark int64) { merger.Push(worker, txs, watermark) })
	if err != nil {
		stop()
		return err
	}
	var fault error
	go func() {
		defer close(batches)
		fault = source.Run(ctx, p.Handle)
		p.Close()
		merger.Close()
	}()
	var batch []*reassembly.Transaction
	s.close = func() {
		stop()
		for range batches {
		}
	}
	s.next = func() (*reassembly.Transaction, error) {
		for len(batch) == 0 {
			var more bool
			if batch, more = <-batches; !more {
				return nil, fault
			}
		}
		tx := batch[0]
		batch = batch[1:]
		return tx, nil
	}
	return nil
}

// Next implements judge.Source.
func (s *Source) Next(tx *reassembly.Transaction) (traffic.Truth, bool) {
	if s.err != nil {
		return traffic.Truth{}, false
	}
	read, err := s.next()
	if read == nil {
		s.err = err
		return traffic.Truth{}, false
	}
	*tx = *read
	return s.labels.of[tx.ID], true
}

// Refuse implements judge.Source. What followed in the capture follows all the same.
func (s *Source) Refuse(tx *reassembly.Transaction, verdict string) {
	tx.RefusedBy = verdict
	tx.Response = reassembly.Response{Status: 403, BodyBytes: reassembly.Unknown}
	tx.Auth.SessionIssued = nil
}

// Close ends the reading, and says what was wrong with the input.
func (s *Source) Close() error {
	s.close()
	return s.err
}
