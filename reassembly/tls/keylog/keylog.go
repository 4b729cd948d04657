// Package keylog holds the secrets of TLS connections as NSS key logs give them
// (the format of SSLKEYLOGFILE, draft-ietf-tls-keylogfile).
//
// A Store is fed with log text, by whoever has it (a file that grows, the
// decryption secrets blocks of a pcapng), and asked by all workers at once. It is
// safe for concurrent use. It holds at most Config.MaxSecrets, the oldest give
// way to new ones, and copies what it keeps. Lines that it can't use are counted,
// never an error: other labels, comments and blank lines, and text that is none
// of these.
package keylog

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
)

// Label says what a secret is for.
type Label uint8

// The labels that are kept.
const (
	Master            Label = iota // CLIENT_RANDOM: master secret, up to TLS 1.2
	ClientEarly                    // CLIENT_EARLY_TRAFFIC_SECRET
	ClientHandshake                // CLIENT_HANDSHAKE_TRAFFIC_SECRET
	ServerHandshake                // SERVER_HANDSHAKE_TRAFFIC_SECRET
	ClientApplication              // CLIENT_TRAFFIC_SECRET_0
	ServerApplication              // SERVER_TRAFFIC_SECRET_0

	labels int = iota
)

var names = [labels]string{
	Master:            "CLIENT_RANDOM",
	ClientEarly:       "CLIENT_EARLY_TRAFFIC_SECRET",
	ClientHandshake:   "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
	ServerHandshake:   "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	ClientApplication: "CLIENT_TRAFFIC_SECRET_0",
	ServerApplication: "SERVER_TRAFFIC_SECRET_0",
}

// String returns the label as in a key log.
func (l Label) String() string { return names[l] }

// Random is the client random that secrets are filed under.
type Random [32]byte

// maxSecret is the longest secret in octets: SHA-384's output, and the master
// secret of TLS 1.2.
const maxSecret = 48

// Secret is 32 or 48 octets.
type Secret struct {
	octets [maxSecret]byte
	n      uint8
}

// Bytes returns the octets, a view into s.
func (s *Secret) Bytes() []byte { return s.octets[:s.n] }

// Config bounds a Store.
type Config struct {
	// MaxSecrets is how many secrets are kept, of which a connection of TLS 1.3
	// has four or five and one of TLS 1.2 one. About 200 octets each are in use
	// for those that are there. Default 262,144.
	MaxSecrets int
	// Base is where secrets are looked up that the Store does not hold; nil:
	// nowhere.
	Base *Store
}

func (c *Config) validate() error {
	if c.MaxSecrets < 0 {
		return fmt.Errorf("max secrets %d is negative", c.MaxSecrets)
	}
	if c.MaxSecrets == 0 {
		c.MaxSecrets = 1 << 18
	}
	return nil
}

// Stats are a Store's books. Lines = Secrets + Repeated + Ignored + Malformed.
type Stats struct {
	Lines     uint64 // read
	Secrets   uint64 // kept, or that replaced another
	Repeated  uint64 // known already
	Ignored   uint64 // comments, blank lines, labels that are not kept
	Malformed uint64 // not of the format
	Evicted   uint64 // gave way to newer ones
}

type key struct {
	random Random
	label  Label
}

// Store is secrets by client random.
type Store struct {
	generation atomic.Uint64

	mu      sync.RWMutex
	secrets map[key]Secret
	order   []key // in order of arrival, a ring once it is full
	oldest  int
	max     int
	base    *Store
	stats   Stats
}

// New returns an empty Store.
func New(config Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("key log: %w", err)
	}
	return &Store{secrets: map[key]Secret{}, max: config.MaxSecrets, base: config.Base}, nil
}

// Add takes whole lines of a key log, ended by LF or CRLF; the last may lack its
// end. It keeps no view of them.
func (s *Store) Add(lines []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := false
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		lines = rest
		added = s.add(line) || added
	}
	if added {
		s.generation.Add(1)
	}
}

// add takes one line, and reports whether it told anything new.
func (s *Store) add(line []byte) bool {
	s.stats.Lines++
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' {
		s.stats.Ignored++
		return false
	}
	name, rest, _ := bytes.Cut(line, []byte{' '})
	random, secret, _ := bytes.Cut(rest, []byte{' '})
	label, known := labelOf(name)
	if !known {
		if labelLike(name) {
			s.stats.Ignored++
		} else {
			s.stats.Malformed++
		}
		return false
	}
	k, v := key{label: label}, Secret{n: uint8(min(len(secret)/2, maxSecret))}
	sized := v.n == 48 || v.n == 32 && label != Master
	if len(random) != 64 || len(secret) > 2*maxSecret || !sized {
		s.stats.Malformed++
		return false
	}
	if _, err := hex.Decode(k.random[:], random); err != nil {
		s.stats.Malformed++
		return false
	}
	if _, err := hex.Decode(v.octets[:], secret); err != nil {
		s.stats.Malformed++
		return false
	}
	return s.put(k, v)
}

func (s *Store) put(k key, v Secret) bool {
	old, there := s.secrets[k]
	switch {
	case there && old == v:
		s.stats.Repeated++
		return false
	case there:
	case len(s.order) < s.max:
		s.order = append(s.order, k)
	default:
		delete(s.secrets, s.order[s.oldest])
		s.order[s.oldest] = k
		s.oldest = (s.oldest + 1) % s.max
		s.stats.Evicted++
	}
	s.stats.Secrets++
	s.secrets[k] = v
	return true
}

func labelOf(name []byte) (Label, bool) {
	for l := range names {
		if string(name) == names[l] {
			return Label(l), true
		}
	}
	return 0, false
}

// labelLike reports whether a word is formed as labels are.
func labelLike(name []byte) bool {
	for _, c := range name {
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// Lookup returns a secret of the connection with the given client random.
func (s *Store) Lookup(label Label, random *Random) (Secret, bool) {
	s.mu.RLock()
	secret, ok := s.secrets[key{*random, label}]
	s.mu.RUnlock()
	if !ok && s.base != nil {
		return s.base.Lookup(label, random)
	}
	return secret, ok
}

// Generation grows whenever there is something new to look up.
func (s *Store) Generation() uint64 {
	n := s.generation.Load()
	if s.base != nil {
		n += s.base.Generation()
	}
	return n
}

// Stats may be called at any time from any goroutine.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.stats
}
