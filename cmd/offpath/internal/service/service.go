// Package service runs offpath as a service: `offpath run`, `offpath sensor`
// and `offpath detect`, which are the same stages joined in different ways.
//
// What runs: one goroutine per capture worker (which reassembles, too), one
// for detection, those of mitigation and of Kafka, one that watches verdicts
// on the wire, and the API. Between reassembly and detection stands a bounded
// queue that sheds whole batches when detection is too slow; capture never
// waits.
//
// A service stops in the order of the data: capture, reassembly, detection,
// mitigation, API, so that what was seen is decided and what was decided is
// sent, all of it within a bounded time.
package service

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"offpath/capture/afpacket"
	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/metrics"
	"offpath/cmd/offpath/internal/wiring"
)

// stopTimeout bounds an orderly stop.
const stopTimeout = 20 * time.Second

// Options are what a service is started with.
type Options struct {
	Config *config.Config
	Load   func() (*config.Config, error) // reads the configuration again
	Reload <-chan os.Signal               // delivers when that is wanted
	Log    logging.Log

	Version, Commit string
}

// SetupError is a mistake in what the configuration names, found when it was
// first used.
type SetupError struct{ err error }

func (e *SetupError) Error() string { return e.err.Error() }

func (e *SetupError) Unwrap() error { return e.err }

// part is a stage of a service.
type part interface {
	// run works until ctx is done, or its input ends; then everything that it
	// has taken is handed on.
	run(ctx context.Context) error
	// problems says, one line each, what does not work at the moment.
	problems() []string
	// reload applies what can be changed while running.
	reload(c *config.Config)
}

// process is one running service: parts in the order of the data.
type process struct {
	options Options
	log     logging.Log
	node    node
	books   metrics.Books
	parts   []part

	settings atomic.Pointer[config.Config]
	phase    atomic.Int32
}

// Phases of a process.
const (
	phaseStarting int32 = iota
	phaseRunning
	phaseStopping
)

func newProcess(o Options) *process {
	p := &process{options: o, log: o.Log}
	p.settings.Store(o.Config)
	p.node.ready = p.problems
	p.books.Ready = p.problems
	return p
}

// problems lists why the process is not ready.
func (p *process) problems() []string {
	switch p.phase.Load() {
	case phaseStarting:
		return []string{"starting"}
	case phaseStopping:
		return []string{"stopping"}
	}
	var all []string
	for _, part := range p.parts {
		all = append(all, part.problems()...)
	}
	return all
}

// serve starts the API, runs the parts until ctx is done or one of them fails,
// and stops them in their order. By then everything that needs a privilege is
// bound, and privileges are given up.
func (p *process) serve(ctx context.Context) error {
	registry := metrics.New(p.books, p.options.Version, p.options.Commit)
	p.node.refused = registry.Refused
	server, err := p.startAPI(registry)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := p.dropPrivileges(); err != nil {
		return err
	}
	for _, warning := range p.settings.Load().Warnings {
		p.log.Warn().Msg(warning)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := p.start(ctx, cancel)
	p.phase.Store(phaseRunning)
	p.announceReady(server)

	for {
		select {
		case err := <-server.Failed():
			cancel(err)
		case <-p.options.Reload:
			p.reload()
		case <-ctx.Done():
			return p.stop(ctx, ended)
		}
	}
}

func (p *process) dropPrivileges() error {
	err := afpacket.DropPrivileges(wiring.Capabilities(p.options.Config)...)
	if errors.Is(err, errors.ErrUnsupported) {
		p.log.Warn().Msg("privileges are kept, because this program was built with cgo; build it with CGO_ENABLED=0")
		return nil
	}
	return err
}

func (p *process) announceReady(server *api.Server) {
	event := p.log.Info().Str("socket", p.settings.Load().Admin.Socket)
	if a := server.Address(); a != nil {
		event = event.Str("listen", a.String())
	}
	event.Msg("ready")
}

// start runs every part in a goroutine. Each goes on until the ones before it
// have ended, and the first until ctx is done; so what a part hands on in the
// end still finds its taker. The channel is closed when all have ended.
func (p *process) start(ctx context.Context, fail context.CancelCauseFunc) <-chan struct{} {
	before := ctx.Done()
	for _, part := range p.parts {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		go func(before <-chan struct{}) {
			<-before
			stop()
		}(before)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := part.run(own); err != nil {
				fail(err)
			}
		}()
		before = both(before, done)
	}
	return before
}

// both is closed when a and b are.
func both(a, b <-chan struct{}) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		<-a
		<-b
		close(c)
	}()
	return c
}

// stop waits for the parts. The error is why the process had to stop, nil if
// it was told to.
func (p *process) stop(ctx context.Context, ended <-chan struct{}) error {
	p.phase.Store(phaseStopping)
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	p.log.Info().Msg("stopping")
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		return errors.Join(err, fmt.Errorf("stages did not come to their end within %s", stopTimeout))
	}
	p.log.Info().Msg("stopped")
	return err
}

func (p *process) startAPI(registry *metrics.Registry) (*api.Server, error) {
	c := p.settings.Load()
	settings := api.Config{
		Node: &p.node, Metrics: registry.Handler(), Socket: c.Admin.Socket, Listen: c.Admin.Listen,
		Errors: log.New(logWriter{p.log}, "", 0),
	}
	var err error
	if !c.Admin.Token.IsZero() {
		if settings.Token, err = c.Admin.Token.Read(); err != nil {
			return nil, &SetupError{fmt.Errorf("admin.token: %w", err)}
		}
	}
	if c.Admin.TLSCert != "" {
		if settings.TLS, err = api.LoadTLS(c.Admin.TLSCert, c.Admin.TLSKey); err != nil {
			return nil, &SetupError{fmt.Errorf("admin.tls_cert: %w", err)}
		}
	}
	return api.Start(settings)
}

// logWriter makes complaints of the HTTP server entries of the log.
type logWriter struct{ log logging.Log }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug().Str("part", "api").Msg(string(line))
	return len(line), nil
}
