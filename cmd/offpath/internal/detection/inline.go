package detection

import (
	"offpath/cmd/offpath/internal/feed"
	"offpath/detect"
	"offpath/reassembly"
)

// Inline is detection in the goroutine of whoever feeds it.
type Inline struct{ work }

// NewInline makes the engine. Config.Queue is not used.
func NewInline(cfg Config) (*Inline, error) {
	s := new(Inline)
	if err := s.start(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// Put takes a batch. The slice and the transactions are the stage's from then
// on.
func (s *Inline) Put(txs []*reassembly.Transaction, watermark int64) {
	s.handle(feed.Batch{Transactions: txs, Watermark: watermark})
	s.settle()
}

// Accounts lists the accounts that campaigns touched; see detect/engine.
func (s *Inline) Accounts() (list []detect.Account, lost uint64) { return s.engine.Accounts() }

// Close ends the engine and closes the outputs. The error is that of the first
// output that could not be written.
func (s *Inline) Close() error {
	s.engine.Close()
	return s.cfg.Files.Close()
}
