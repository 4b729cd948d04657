package envoy

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/types/known/anypb"
)

// resource is the latest of a kind; nil body: not known yet, and nothing is sent.
type resource struct {
	version uint64
	body    *anypb.Any
}

// connection is one Envoy, as long as it is connected.
type connection struct {
	id      uint64
	peer    netip.Addr // not valid on a unix socket
	node    string     // as it says, cut
	version string
	gone    bool
	surplus bool          // there are maxEnvoys without it
	asks    [kinds]int    // streams that ask for a kind
	took    [kinds]uint64 // the version it acknowledged last
	refused [kinds]uint64 // the version it refused last
	reason  [kinds]string
}

func (c *connection) String() string {
	if c.peer.IsValid() {
		return fmt.Sprintf("%q at %s", c.node, c.peer)
	}
	return fmt.Sprintf("%q", c.node)
}

// fleet is what the connected Envoys are to have, and what they have. Methods may be called
// concurrently.
type fleet struct {
	mu          sync.Mutex
	life        string // of this fleet: part of versions, so that no other's look like ours
	changed     chan struct{}
	resources   [kinds]resource
	connections map[uint64]*connection
	last        uint64 // id of a connection
}

func newFleet(life string) *fleet {
	return &fleet{life: life, changed: make(chan struct{}), connections: make(map[uint64]*connection)}
}

// wake tells all who wait that something changed; the caller holds mu.
func (f *fleet) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// publish makes a resource the latest of its kind, and returns its version: that of the one
// before if they are the same.
func (f *fleet) publish(k kind, body *anypb.Any) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.resources[k]
	if r.body == nil || !bytes.Equal(r.body.Value, body.Value) {
		r.version++
		r.body = body
		f.wake()
	}
	return r.version
}

// latest is the version of a kind; 0: none yet.
func (f *fleet) latest(k kind) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resources[k].version
}

// join notes a connection.
func (f *fleet) join(peer netip.Addr) *connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	return &connection{id: f.last, peer: peer}
}

// greet notes who a connection is, at the first request of a stream: from then on it is an
// Envoy, unless it has gone meanwhile. gRPC doesn't wait for the streams of a connection
// that ends. The error says that there are enough: nothing is told to this one.
func (f *fleet) greet(c *connection, node, version string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.gone {
		return nil
	}
	others := 0
	for _, o := range f.connections {
		if o != c && !o.surplus {
			others++
		}
	}
	c.node, c.version, c.surplus = node, version, others >= maxEnvoys
	f.connections[c.id] = c
	f.wake()
	if c.surplus {
		return fmt.Errorf("%w: %s is one more", ErrTooMany, c)
	}
	return nil
}

func (f *fleet) leave(c *connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.gone = true
	delete(f.connections, c.id)
	f.wake()
}

// subscribe notes what a stream asks for more (by 1) or no longer (by -1).
func (f *fleet) subscribe(c *connection, k kind, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.asks[k] += by
	f.wake()
}

// answered notes what an Envoy says of a version; no reason: it took it.
func (f *fleet) answered(c *connection, k kind, version uint64, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reason == "" {
		c.took[k] = max(c.took[k], version)
	} else {
		c.refused[k], c.reason[k] = max(c.refused[k], version), reason
	}
	f.wake()
}

// next is the first resource of the kinds that is newer than what was sent.
func (f *fleet) next(asked [kinds]bool, sent [kinds]uint64) (k kind, r resource, more bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range sendOrder {
		if r := f.resources[k]; asked[k] && r.body != nil && r.version > sent[k] {
			return k, r, true, nil
		}
	}
	return 0, resource{}, false, f.changed
}

// sendOrder has the script first: the kill switch waits for nothing that is long.
var sendOrder = [kinds]kind{script, rates, verdicts}

// await returns when every connected Envoy has taken versions of resources (0: none), or
// with what keeps it from that. The error at the end of the context says which did not.
func (f *fleet) await(ctx context.Context, versions [kinds]uint64) error {
	for {
		pending, changed, err := f.pending(versions)
		if err != nil || pending == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", pending, ctx.Err())
		}
	}
}

// pending says who has not taken versions of resources yet.
func (f *fleet) pending(versions [kinds]uint64) (pending error, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.connections) == 0 {
		return nil, nil, ErrNoEnvoy
	}
	for _, c := range f.sorted() {
		for k, version := range versions {
			switch {
			case c.surplus:
				return nil, nil, fmt.Errorf("%w: %s is one more", ErrTooMany, c)
			case c.took[k] >= version:
			case c.refused[k] >= version:
				return nil, nil, &RefusedError{Envoy: c.String(), Resource: names[k], Reason: c.reason[k]}
			case c.asks[k] == 0:
				pending = fmt.Errorf("%w: %s does not ask for %s", ErrNotPrepared, c, names[k])
			default:
				pending = fmt.Errorf("envoy %s has not taken %s", c, names[k])
			}
		}
	}
	return pending, f.changed, nil
}

// sorted are the connections by their ids; the caller holds mu.
func (f *fleet) sorted() []*connection {
	all := make([]*connection, 0, len(f.connections))
	for _, c := range f.connections {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *connection) int { return int(a.id) - int(b.id) })
	return all
}

// who names the connected Envoys, their software, and their addresses.
func (f *fleet) who() (process, version string, addresses []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids, versions []string
	for _, c := range f.sorted() {
		ids = append(ids, strconv.FormatUint(c.id, 36))
		if !slices.Contains(versions, c.version) {
			versions = append(versions, c.version)
		}
		if c.peer.IsValid() && !slices.Contains(addresses, c.peer) {
			addresses = append(addresses, c.peer)
		}
	}
	if ids == nil {
		return "", "", nil
	}
	return f.life + "/" + strings.Join(ids, "+"), strings.Join(versions, ", "), addresses
}

// missing says which of the filters an Envoy does not ask for.
func (f *fleet) missing() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.connections) == 0 {
		return ErrNoEnvoy
	}
	for _, c := range f.sorted() {
		if c.surplus {
			return fmt.Errorf("%w: %s is one more", ErrTooMany, c)
		}
		for k := range kinds {
			if c.asks[k] == 0 {
				return fmt.Errorf("%w: %s does not ask for %s", ErrNotPrepared, c, names[k])
			}
		}
	}
	return nil
}
