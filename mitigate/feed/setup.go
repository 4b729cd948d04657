package feed

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"

	"offpath/mitigate/internal/printed"
	"offpath/mitigate/internal/pull"
)

//go:embed setup/consumer.txt
var guide string

// Setup is what consumers have to have in their configuration.
type Setup struct {
	Address string // as in [Options]; default [DefaultAddress]
	TLS     bool
}

// Config is a [Setup] rendered.
type Config struct{ Guide string }

// Render makes the text.
func (s Setup) Render() (Config, error) {
	url, err := pull.URL(cmp.Or(s.Address, DefaultAddress), s.TLS)
	if err != nil {
		return Config{}, fmt.Errorf("feed setup: %w", err)
	}
	text, err := printed.Text(guide, struct{ URL string }{url})
	if err != nil {
		return Config{}, fmt.Errorf("feed setup: %w", err)
	}
	return Config{Guide: text}, nil
}

// WriteTo prints it.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.Guide)
	return int64(n), err
}
