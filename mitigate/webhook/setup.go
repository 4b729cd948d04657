package webhook

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"time"

	"offpath/mitigate/internal/printed"
)

//go:embed setup/guide.txt
var guide string

//go:embed setup/receiver.py
var receiver string

// Setup is what whoever writes a receiver has to know.
type Setup struct {
	URL string // default https://fraud.example/offpath
}

// Config is a [Setup] rendered.
type Config struct {
	Guide    string // comments
	Receiver string // a whole receiver in Python, for the standard library alone
}

// Render makes the text.
func (s Setup) Render() (Config, error) {
	s.URL = cmp.Or(s.URL, "https://fraud.example/offpath")
	if problem := CheckURL(s.URL); problem != "" || strings.ContainsFunc(s.URL, func(r rune) bool { return r < ' ' }) {
		return Config{}, fmt.Errorf("webhook setup: address %q %s", s.URL, cmp.Or(problem, "holds control characters"))
	}
	text, err := printed.Text(guide, struct {
		URL                 string
		Timeout             time.Duration
		Words, Events, Body int
	}{s.URL, DefaultTimeout, maxWords, maxEvents, maxBody >> 10})
	if err != nil {
		return Config{}, fmt.Errorf("webhook setup: %w", err)
	}
	return Config{Guide: text, Receiver: receiver}, nil
}

// WriteTo prints it, as a Python program that begins with the guide.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, c.Guide+"\n"+c.Receiver)
	return int64(n), err
}
