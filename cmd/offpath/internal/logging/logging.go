// Package logging sets up the log on stderr: text on a terminal, JSON
// otherwise, unless configured.
package logging

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"offpath/cmd/offpath/internal/config"
)

// Log is a logger whose level may be changed while it is in use.
type Log struct {
	zerolog.Logger
	level *atomic.Int32 // zerolog.Level
}

// New returns a log that writes to w as configured.
func New(w io.Writer, c config.Log) Log {
	text := c.Format == "text" || c.Format == "auto" && isTerminal(w)
	if text {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	l := Log{level: new(atomic.Int32)}
	l.SetLevel(c.Level)
	l.Logger = zerolog.New(w).Hook(l).With().Timestamp().Logger()
	return l
}

// SetLevel changes the level to one of the configuration's names.
func (l Log) SetLevel(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil {
		panic(fmt.Sprintf("logging: level %q was not checked", name))
	}
	l.level.Store(int32(level))
}

// Run implements zerolog.Hook.
func (l Log) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if level < zerolog.Level(l.level.Load()) {
		e.Discard()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
