package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"offpath/capture"
	"offpath/capture/afpacket"
	"offpath/capture/keylogfile"
	"offpath/capture/pcapfile"
	"offpath/cmd/offpath/internal/config"
	"offpath/cmd/offpath/internal/logging"
	"offpath/cmd/offpath/internal/wiring"
	"offpath/reassembly/pipeline"
	"offpath/reassembly/tls/keylog"
)

// capturePart takes frames off the interfaces and reassembles them.
type capturePart struct {
	source   *afpacket.Source
	key      []byte // of the site
	pipeline *pipeline.Pipeline
	record   *os.File           // nil without a recording
	recorder *pcapfile.Recorder // of record
	keyLog   string             // path of a key log that is followed, "" none
	secrets  *keylog.Store      // what it holds
	log      logging.Log
}

// openCapture binds the rings. A mistake in the names of interfaces is a
// *SetupError.
func openCapture(p *process) (*capturePart, error) {
	c := p.options.Config
	key, err := c.SiteKey()
	if err != nil {
		return nil, &SetupError{err}
	}
	source, err := afpacket.Open(afpacket.Options{
		Interfaces: c.Capture.Interfaces, Workers: c.Capture.Workers, RingMiB: c.Capture.RingMiB,
		Tunnels: c.Capture.Tunnels, Secret: key,
	})
	if errors.Is(err, afpacket.ErrNoInterface) || errors.Is(err, afpacket.ErrLinkType) {
		return nil, &SetupError{err}
	}
	if err != nil {
		return nil, err
	}
	part := &capturePart{source: source, key: key, log: p.log}
	p.books.Capture = part.stats
	return part, nil
}

// connect makes reassembly, whose transactions go to feed, and begins the
// recording.
func (part *capturePart) connect(p *process, feed wiring.Feed) error {
	c := p.options.Config
	secrets, err := wiring.TLS(c, c.TLS.KeyLog != "")
	if err != nil {
		return &SetupError{err}
	}
	part.secrets, part.keyLog = secrets.Secrets, c.TLS.KeyLog
	if part.pipeline, err = wiring.Pipeline(c, part.key, part.source.Workers(), wiring.Extras{Divided: true, TLS: secrets, Detail: wiring.Detail{Sensitive: c.Reassembly.Sensitive}}, feed); err != nil {
		return err
	}
	p.books.Pipeline = part.pipeline.Stats
	if c.Capture.Record != "" {
		return part.startRecording(c.Capture.Record)
	}
	return nil
}

func (part *capturePart) startRecording(path string) error {
	if err := putAside(path); err != nil {
		return fmt.Errorf("start recording: %w", err)
	}
	var err error
	if part.record, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return fmt.Errorf("start recording: %w", err)
	}
	options := pcapfile.RecorderOptions{Workers: part.source.Workers()}
	for _, i := range part.source.Interfaces() {
		options.Interfaces = append(options.Interfaces, pcapfile.Interface{Name: i.Name, Link: i.Link})
	}
	if part.recorder, err = pcapfile.NewRecorder(part.record, options); err != nil {
		return fmt.Errorf("start recording to %s: %w", path, err)
	}
	return nil
}

// putAside renames the recording of an earlier run, which is evidence, to its
// name and the time of its last change.
func putAside(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(path, path+"."+info.ModTime().UTC().Format("20060102T150405.000000000"))
}

// handle is the way of each batch: to the recording, then to reassembly.
func (part *capturePart) handle() capture.Handler {
	if part.recorder == nil {
		return part.pipeline.Handle
	}
	return func(worker int, b capture.Batch) {
		part.recorder.Batch(worker, b)
		part.pipeline.Handle(worker, b)
	}
}

func (part *capturePart) run(ctx context.Context) error {
	if part.keyLog != "" {
		defer part.followKeyLog(ctx)()
	}
	err := part.source.Run(ctx, part.handle())
	part.pipeline.Close()
	if part.recorder != nil {
		if closeErr := errors.Join(part.recorder.Close(), part.record.Close()); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("end recording: %w", closeErr))
		}
	}
	stats := part.stats()
	part.log.Info().Uint64("frames", stats.Received).Uint64("kernel_drops", stats.KernelDrops).Msg("capture ended")
	return errors.Join(err, part.source.Close())
}

// keyLogPoll is how often it is looked whether the key log has grown.
const keyLogPoll = 200 * time.Millisecond

// followKeyLog adds the secrets of the key log as they come, until the function
// that it returns is called.
func (part *capturePart) followKeyLog(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	follower := keylogfile.New(part.keyLog, part.secrets.Add)
	var done sync.WaitGroup
	done.Go(func() {
		follower.Run(ctx, keyLogPoll, func(err error) {
			if err != nil {
				part.log.Warn().Err(err).Msg("the key log can't be read; connections that need it stay encrypted")
			}
		})
		follower.Close()
	})
	return func() { cancel(); done.Wait() }
}

// close gives up what open and connect made, when the service does not start.
func (part *capturePart) close() {
	if part.recorder != nil {
		part.recorder.Close()
	}
	if part.record != nil {
		part.record.Close()
	}
	if part.pipeline != nil {
		part.pipeline.Close()
	}
	part.source.Close()
}

func (part *capturePart) stats() capture.Stats {
	stats := part.source.Stats()
	if part.recorder != nil {
		stats.RecordingDrops += part.recorder.Stats().Dropped
	}
	return stats
}

func (part *capturePart) problems() []string {
	var problems []string
	for _, i := range part.source.Interfaces() {
		switch {
		case i.Gone:
			problems = append(problems, fmt.Sprintf("interface %s was removed; a restart is needed once it is back", i.Name))
		case !i.Up:
			problems = append(problems, fmt.Sprintf("interface %s is down", i.Name))
		}
	}
	return problems
}

func (part *capturePart) reload(*config.Config) {}

// describe logs how frames come to the workers.
func (part *capturePart) describe() {
	steering := part.source.Steering()
	event := part.log.Info()
	if steering.Reason != nil {
		event = part.log.Warn().Str("reason", steering.Reason.Error())
	}
	event.Int("workers", part.source.Workers()).Str("steering", string(steering.Method)).Msg("rings are bound")
}
