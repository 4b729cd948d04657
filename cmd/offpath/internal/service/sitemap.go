package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/detection"
	"offpath/detect/engine"
	"offpath/detect/sitemap"
	"offpath/detect/sitemap/specification"
)

// documentAge is how old an answer about the site map may be: who asks more often
// gets the same again.
const documentAge = time.Second

// documents are what is told of the site map. One is made at a time, from a copy of
// the map that costs detection next to nothing, in the goroutine of whoever asks; the
// last one is kept.
type documents struct {
	stage *detection.Stage                   // nil: no map is kept
	spec  atomic.Pointer[specification.Spec] // nil: there is none

	mu   sync.Mutex
	kind string // of the last one
	of   *specification.Spec
	text []byte
	made time.Time
}

// SiteMap implements api.Node.
func (n *node) SiteMap(format string) ([]byte, error) {
	write := (*sitemap.Map).JSON
	if format == "yaml" {
		write = (*sitemap.Map).YAML
	}
	return n.documents.get("map as "+format, func(m *sitemap.Map, spec *specification.Spec) ([]byte, error) {
		if spec == nil {
			return write(m, nil)
		}
		return write(m, m.Compare(spec))
	})
}

// Comparison implements api.Node.
func (n *node) Comparison() ([]byte, error) {
	return n.documents.get("comparison", func(m *sitemap.Map, spec *specification.Spec) ([]byte, error) {
		if spec == nil {
			return nil, api.ErrNoSpecification
		}
		return m.Compare(spec).JSON()
	})
}

// get is the document of a kind, made by write unless the last one will do.
func (d *documents) get(kind string, write func(*sitemap.Map, *specification.Spec) ([]byte, error)) ([]byte, error) {
	if d.stage == nil {
		return nil, api.ErrNoSiteMap
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := d.spec.Load()
	if d.text != nil && d.kind == kind && d.of == spec && time.Since(d.made) < documentAge {
		return d.text, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	m, err := detection.Ask(ctx, d.stage, (*engine.Engine).Map)
	if err != nil {
		return nil, errors.Join(api.ErrBusy, err)
	}
	text, err := write(m, spec)
	if err != nil {
		return nil, fmt.Errorf("write the %s: %w", kind, err)
	}
	d.kind, d.of, d.text, d.made = kind, spec, text, time.Now()
	return text, nil
}
