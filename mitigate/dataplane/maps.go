package dataplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The maps, as the API names them: their files without folder and ending.
const (
	verdictMap   = "offpath-verdicts"
	networkMap   = "offpath-networks"
	allowMap     = "offpath-allow"      // the operator's own; never written
	allowLiveMap = "offpath-allow-live" // ours
	modeMap      = "offpath-mode"
)

// line is an entry of a map.
type line struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func runtimePath(version int) string {
	return "/v" + strconv.Itoa(version) + "/services/haproxy/runtime/"
}

// syncNow asks that the map's file follows before the answer, not within ten seconds: a reload
// of HAProxy reads the file.
const syncNow = "force_sync=true"

// entriesPath is the path of the entries of a map, or with a key of one of them.
func entriesPath(version int, name, key, query string) string {
	if key != "" {
		key = "/" + url.PathEscape(key)
	}
	path := runtimePath(version)
	if version == version2 {
		path += "maps_entries" + key + "?map=" + name
		if query != "" {
			path += "&" + query
		}
		return path
	}
	path += "maps/" + name + "/entries" + key
	if query != "" {
		path += "?" + query
	}
	return path
}

// held is what a map holds.
type held struct {
	lines map[string]string
	// doubled says that a key stands there more than once: the first counts, and which
	// that is after a reload, nobody says.
	doubled bool
	// appended says that lines which are there for their length alone stand there more than
	// once: an order that was to replace the map was appended to it.
	appended bool
}

// holds says that it is exactly what is wanted.
func (h held) holds(wanted map[string]string) bool { return !h.doubled && maps.Equal(h.lines, wanted) }

// linesOf are the lines of a map, always in the same order.
func linesOf(entries map[string]string) []line {
	lines := make([]line, 0, len(entries))
	for key, value := range entries {
		lines = append(lines, line{key, value})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.Key, b.Key) })
	return lines
}

// parseLines reads the entries of a map; those that are there for their length alone are
// left out.
func parseLines(answer []byte) (h held, err error) {
	var list []line
	if err := json.Unmarshal(answer, &list); err != nil {
		return h, fmt.Errorf("data plane api: map is no JSON list of entries: %w", err)
	}
	h.lines = make(map[string]string, len(list))
	pads := make(map[string]bool)
	for _, l := range list {
		_, there := h.lines[l.Key]
		switch {
		case isPad(l.Key):
			h.appended = h.appended || pads[l.Key]
			pads[l.Key] = true
		case there:
			h.doubled = true
		default:
			h.lines[l.Key] = l.Value
		}
	}
	return h, nil
}

// list lists a map.
func (c *client) list(ctx context.Context, name string) (held, error) {
	version, err := c.versionOf(ctx)
	if err != nil {
		return held{}, err
	}
	answer, err := c.get(ctx, entriesPath(version, name, "", ""))
	if err != nil {
		return held{}, c.prepared(ctx, err)
	}
	return parseLines(answer)
}

// put adds or changes one entry; known says that it is probably there.
func (c *client) put(ctx context.Context, name string, l line, query string, known bool) error {
	version, err := c.versionOf(ctx)
	if err != nil {
		return err
	}
	whole, err := json.Marshal(l)
	if err != nil {
		return err
	}
	value, err := json.Marshal(map[string]string{"value": l.Value})
	if err != nil {
		return err
	}
	for range 2 * tries {
		if known {
			var answer []byte
			answer, err = c.do(ctx, http.MethodPut, entriesPath(version, name, l.Key, query), value, http.StatusOK)
			if err == nil {
				return confirm(answer, l)
			}
			// The API says so, too, when it can't reach HAProxy; then it can't add it either.
			if !refusedWith(err, http.StatusNotFound) {
				return err
			}
		} else {
			_, err = c.do(ctx, http.MethodPost, entriesPath(version, name, "", query), whole, http.StatusCreated)
			if !refusedWith(err, http.StatusConflict) {
				return err
			}
		}
		known = !known
	}
	return err
}

// confirm looks at the answer to a change, which is what HAProxy has then.
func confirm(answer []byte, want line) error {
	var got line
	if err := json.Unmarshal(answer, &got); err != nil || got != want {
		return fmt.Errorf("data plane api: %s was to be %q and is %q", want.Key, want.Value, got.Value[:min(longestMessage, len(got.Value))])
	}
	return nil
}

// drop takes out one entry; missing says that the API found none, which it says, too, when
// it can't reach HAProxy.
func (c *client) drop(ctx context.Context, name, key, query string) (missing bool, err error) {
	version, err := c.versionOf(ctx)
	if err != nil {
		return false, err
	}
	_, err = c.do(ctx, http.MethodDelete, entriesPath(version, name, key, query), nil, http.StatusNoContent)
	if refusedWith(err, http.StatusNotFound) {
		return true, nil
	}
	return false, err
}

// follow has the file of a map follow, also if it could not when the map was written.
func (c *client) follow(ctx context.Context, name string, l line) error {
	if err := c.put(ctx, name, l, syncNow, true); err != nil {
		return c.prepared(ctx, err)
	}
	return nil
}

// errAppends says that what was to replace a map was appended to it; it did no harm.
var errAppends = errors.New("data plane api: it appends to a map what is to replace it, since it could not ask HAProxy for its version when it started: restart it")

// appendPause is how long no map is written as a whole after one was appended to: each such
// order makes the map longer.
const appendPause = 10 * time.Minute

func (c *client) appending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.appended.IsZero() && time.Since(c.appended) < appendPause
}

// replace makes a map anew in one step, and looks at what came of it. What is written
// meanwhile entry by entry may be lost.
func (c *client) replace(ctx context.Context, name string, lines []line, pad func(int) line) error {
	version, err := c.versionOf(ctx)
	if err != nil {
		return err
	}
	if c.appending() {
		return errAppends
	}
	body, err := json.Marshal(padded(lines, pad))
	if err != nil {
		return err
	}
	if _, err := c.do(ctx, http.MethodPut, runtimePath(version)+"maps/"+name+"?"+syncNow, body, http.StatusCreated); err != nil {
		return c.prepared(ctx, err)
	}
	now, err := c.list(ctx, name)
	if err != nil {
		return err
	}
	if now.appended {
		c.mu.Lock()
		c.appended = time.Now()
		c.mu.Unlock()
		return errAppends
	}
	wrong := len(now.lines) != len(lines)
	for _, l := range lines {
		wrong = wrong || now.lines[l.Key] != l.Value
	}
	if wrong {
		return fmt.Errorf("data plane api: map %s does not hold the %d entries that were written, but %d", name, len(lines), len(now.lines))
	}
	return nil
}

// each runs f for every item, some at a time and at a pace, until one fails.
func each[T any](ctx context.Context, c *client, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan T)
	for range min(connections, len(items)) {
		wg.Go(func() {
			for item := range next {
				if err := f(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		if c.singles.Wait(ctx) != nil {
			break
		}
		next <- item
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}
