package envoy

import (
	"slices"
	"sync"

	data "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslog "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"offpath/mitigate"
)

// maxHits bounds the verdicts whose hits are counted at a time; further ones are not.
const maxHits = 1 << 16

// hits are counted from the lines that Envoy logs of requests that a verdict is about.
type hits struct {
	mu   sync.Mutex
	byID map[mitigate.ID]mitigate.Hits
}

func (h *hits) add(id mitigate.ID, passed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, known := h.byID[id]
	if !known && len(h.byID) >= maxHits {
		return
	}
	n.ID = id
	if passed {
		n.Passed++
	} else {
		n.Refused++
	}
	if h.byID == nil {
		h.byID = make(map[mitigate.ID]mitigate.Hits)
	}
	h.byID[id] = n
}

// keep forgets verdicts that are no more.
func (h *hits) keep(there map[mitigate.ID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.byID {
		if !there[id] {
			delete(h.byID, id)
		}
	}
}

func (h *hits) list() []mitigate.Hits {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]mitigate.Hits, 0, len(h.byID))
	for _, n := range h.byID {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b mitigate.Hits) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

// counter takes the access log of Envoys.
type counter struct {
	accesslog.UnimplementedAccessLogServiceServer
	hits *hits
}

// StreamAccessLogs implements the service.
func (c *counter) StreamAccessLogs(stream accesslog.AccessLogService_StreamAccessLogsServer) error {
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, entry := range message.GetHttpLogs().GetLogEntry() {
			if id, passed, ok := hitOf(entry); ok {
				c.hits.add(id, passed)
			}
		}
	}
}

// hitOf reads what a line says of a verdict: the script has left the id in the request's
// metadata, and what was let through came as far as offpath_passed.
func hitOf(entry *data.HTTPAccessLogEntry) (id mitigate.ID, passed, ok bool) {
	metadata := entry.GetCommonProperties().GetMetadata().GetFilterMetadata()
	id, err := mitigate.ParseID(metadata["offpath"].GetFields()["id"].GetStringValue())
	return id, metadata["offpath_passed"] != nil, err == nil
}
