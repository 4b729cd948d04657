package service

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/offpath/internal/api"
	"offpath/cmd/offpath/internal/detection"
	"offpath/detect/engine"
	"offpath/detect/sitemap"
	"offpath/detect/sitemap/specification"
)

func TestDocumentsOfTheMapAreMadeOneAtATimeAndOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stage, err := detection.Start(detection.Config{Queue: 10, Engine: engine.Config{Map: sitemap.New(0)}})
		require.NoError(t, err)
		d := documents{stage: stage}
		var made, atOnce atomic.Int32
		write := func(*sitemap.Map, *specification.Spec) ([]byte, error) {
			assert.EqualValues(t, 1, atOnce.Add(1))
			runtime.Gosched()
			defer atOnce.Add(-1)
			return fmt.Append(nil, "document ", made.Add(1)), nil
		}
		get := func(kind string) string {
			text, err := d.get(kind, write)
			assert.NoError(t, err)
			return string(text)
		}
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() { assert.Equal(t, "document 1", get("map")) })
		}
		asking.Wait()
		assert.Equal(t, "document 2", get("comparison"), "another document")
		d.spec.Store(new(specification.Spec))
		assert.Equal(t, "document 3", get("comparison"), "with another specification")
		assert.Equal(t, "document 3", get("comparison"))
		time.Sleep(documentAge)
		assert.Equal(t, "document 4", get("comparison"), "when a second is over")

		require.NoError(t, stage.Close())
		_, err = d.get("map", write)
		assert.ErrorIs(t, err, api.ErrBusy, "when detection has ended")
	})
}

func TestWithoutAMapThereIsNoDocument(t *testing.T) {
	n := new(node)
	_, err := n.SiteMap("json")
	assert.ErrorIs(t, err, api.ErrNoSiteMap)
	_, err = n.Comparison()
	assert.ErrorIs(t, err, api.ErrNoSiteMap)
}
