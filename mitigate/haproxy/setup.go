package haproxy

import (
	"cmp"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"offpath/mitigate/internal/lua"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/*.cfg
var setupFiles embed.FS

//go:embed setup/request.lua
var requestScript string

//go:embed setup/offpath.lua
var script string

// MaxProxyHops is how many trusted proxies in a row the rules look past.
const MaxProxyHops = 4

// Setup is what an HAProxy's configuration needs to enforce verdicts. The zero
// value suits an HAProxy that clients reach directly.
type Setup struct {
	// Address is the socket that offpath will use, unix:/PATH, tcp:HOST:PORT or
	// master:/PATH; default unix:/run/haproxy/admin.sock.
	Address string
	// MapDir is the folder of the map files; default [DefaultMapDir].
	MapDir string
	// PeerName is HAProxy's name for itself; default lb1. PeerAddress is where
	// an old process hands its rows to the new one; default 127.0.0.1:10077.
	PeerName, PeerAddress string
	// Peers are further HAProxies of the same frontends, which teach each other their
	// rows, so that one that starts knows what the others do. Removals they don't tell
	// each other: each has to be a target.
	Peers []Peer
	// TableSize is the number of rows for verdicts, in HAProxy's notation;
	// default 1m.
	TableSize string
	// TrustedProxies are networks whose ClientHeader is believed: proxies and
	// CDNs in front of the load balancer, as in client.trusted_proxies. Empty:
	// the client is the peer of the connection.
	TrustedProxies []netip.Prefix
	// ClientHeader names clients, the nearest last; default X-Forwarded-For.
	ClientHeader string
	// IgnoreHeaders are names of header fields that don't count in fingerprints, as
	// in client.ignore_headers.
	IgnoreHeaders []string
	// SessionKey is the key of the keyed hashes of tokens, by which HAProxy knows a session
	// that a verdict is about; empty: it knows none. It stands in the script.
	SessionKey []byte
	// Deception is what deceived clients are answered; nil: verdicts that deceive can't
	// be carried.
	Deception *Deception
	// Tarpit is how long what is blocked or deceived waits for its answer: a millisecond
	// to a minute; 0: not at all. Each holds a connection meanwhile, so nothing waits
	// while the frontend has TarpitConnections or more; default
	// [DefaultTarpitConnections]. Over HTTP/2 nothing waits.
	Tarpit            time.Duration
	TarpitConnections int
	// Counters are the sticky counters the rules may use for rates and hits;
	// HAProxy 2.6 has 0 to 2, and a configuration that uses 1 or 2 itself has
	// to give others here. Both 0: 1 and 2.
	Counters [2]int
}

// Peer is a further HAProxy: its name for itself, and the HOST:PORT where it takes rows.
type Peer struct{ Name, Address string }

// What a [Setup] has by itself, and may have at most.
const (
	DefaultTarpitConnections = 1000
	MaxTarpit                = time.Minute
	DefaultDeceptionType     = "application/json"
)

// Deception is an answer as the site itself would give it, such as that to a login with
// a wrong password: a tool that believes it goes on through its list and learns nothing.
// Its body is a file beside the maps, deception.body, which has to exist when HAProxy
// starts, and to be of 12 KiB at most: HAProxy keeps it in a buffer.
type Deception struct {
	Status int    // 200 to 599
	Type   string // media type; default [DefaultDeceptionType]
}

// IsMediaType reports whether a text is a media type (RFC 9110 section 8.3.1) that
// haproxy.cfg takes as it stands.
func IsMediaType(text string) bool {
	_, _, err := mime.ParseMediaType(text)
	return err == nil && strings.Contains(text, "/") && !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r > '~' || strings.ContainsRune(`"\'%$#`, r)
	})
}

func (d *Deception) validate() error {
	switch {
	case d.Status < 200 || d.Status > 599:
		return fmt.Errorf("haproxy setup: a deception's status %d is not of 200 to 599", d.Status)
	case !IsMediaType(d.Type):
		return fmt.Errorf("haproxy setup: a deception's type %q is no media type", d.Type)
	}
	return nil
}

func (s *Setup) setDefaults() {
	s.Address = cmp.Or(s.Address, "unix:/run/haproxy/admin.sock")
	s.MapDir = strings.TrimRight(cmp.Or(s.MapDir, DefaultMapDir), "/")
	s.PeerName = cmp.Or(s.PeerName, "lb1")
	s.PeerAddress = cmp.Or(s.PeerAddress, "127.0.0.1:10077")
	s.TableSize = cmp.Or(s.TableSize, "1m")
	s.ClientHeader = cmp.Or(s.ClientHeader, "X-Forwarded-For")
	if s.Deception != nil {
		s.Deception = &Deception{s.Deception.Status, cmp.Or(s.Deception.Type, DefaultDeceptionType)}
	}
	s.TarpitConnections = cmp.Or(s.TarpitConnections, DefaultTarpitConnections)
	if s.Counters == [2]int{} {
		s.Counters = [2]int{1, 2}
	}
}

func (s *Setup) validate() error {
	if _, err := newClient(s.Address, 0); err != nil {
		return fmt.Errorf("haproxy setup: %w", err)
	}
	if _, _, err := net.SplitHostPort(s.PeerAddress); err != nil {
		return fmt.Errorf("haproxy setup: peer address %q is not HOST:PORT", s.PeerAddress)
	}
	names := []string{s.PeerName}
	for _, p := range s.Peers {
		if _, _, err := net.SplitHostPort(p.Address); err != nil {
			return fmt.Errorf("haproxy setup: address %q of peer %s is not HOST:PORT", p.Address, p.Name)
		}
		if slices.Contains(names, p.Name) {
			return fmt.Errorf("haproxy setup: two peers are called %s", p.Name)
		}
		names = append(names, p.Name)
	}
	_, where, _ := strings.Cut(s.Address, ":")
	words := append(names, where, s.MapDir, s.PeerAddress, s.TableSize, s.ClientHeader)
	for _, p := range s.Peers {
		words = append(words, p.Address)
	}
	for _, word := range words {
		if !plain(strings.NewReplacer("[", "", "]", "").Replace(word)) {
			return fmt.Errorf("haproxy setup: %q holds what haproxy.cfg may take for syntax", word)
		}
	}
	for _, name := range s.IgnoreHeaders {
		if name == "" || !plain(name) || strings.ContainsAny(name, ":()") {
			return fmt.Errorf("haproxy setup: %q is no name of a header field", name)
		}
	}
	for _, p := range s.TrustedProxies {
		if !p.IsValid() {
			return fmt.Errorf("haproxy setup: trusted proxy %s is no network", p)
		}
	}
	if s.Deception != nil {
		if err := s.Deception.validate(); err != nil {
			return err
		}
	}
	if s.Tarpit < 0 || s.Tarpit > MaxTarpit || s.Tarpit%time.Millisecond != 0 {
		return fmt.Errorf("haproxy setup: a tarpit of %s is not of whole milliseconds up to a minute", s.Tarpit)
	}
	if s.TarpitConnections < 1 {
		return fmt.Errorf("haproxy setup: a tarpit below %d connections holds nobody", s.TarpitConnections)
	}
	if a, b := s.Counters[0], s.Counters[1]; a == b || min(a, b) < 0 || max(a, b) > 11 {
		return fmt.Errorf("haproxy setup: sticky counters %d and %d have to be two different ones of 0 to 11", a, b)
	}
	return nil
}

// Config is a [Setup] rendered.
type Config struct {
	Header   string   // comments: how to install the rest
	Global   string   // lines of the global section
	Sections string   // whole sections
	Rules    string   // lines that come first in each protected frontend
	Files    []string // map files that have to exist before HAProxy starts
	// DeceptionFile is the body of the answer that deceives, which has to exist, too;
	// "": none.
	DeceptionFile string
	Script        string // in Lua
	// ScriptFile is where the script lies.
	ScriptFile string
}

// Render checks the setup and makes the configuration.
func (s Setup) Render() (Config, error) {
	s.setDefaults()
	if err := s.validate(); err != nil {
		return Config{}, err
	}
	kind, where, _ := strings.Cut(s.Address, ":")
	view := view{
		Setup:         s,
		AllowFile:     s.MapDir + "/" + allowMap,
		AllowLiveFile: s.MapDir + "/" + allowLiveMap,
		NetworkFile:   s.MapDir + "/" + networkMap,
		SetupTable:    setupTable,
		LuaFile:       s.MapDir + "/" + scriptFile,
		Ignored:       strings.Join(s.IgnoreHeaders, ":"),
		Trusted:       s.TrustedProxies,
		RateCounter:   s.Counters[0],
		HitCounter:    s.Counters[1],
		Tarpit:        s.Tarpit.Milliseconds(),
		SessionTable:  sessionTable(s.SessionKey),
		StatsSocket:   "stats socket " + where + " mode 600 level admin",
		SocatAddress:  "UNIX-CONNECT:" + where,
	}
	switch kind {
	case "tcp":
		view.StatsSocket = "stats socket " + socketFamily(where) + where + " level admin"
		view.SocatAddress = "TCP:" + where
	case "master":
		view.StatsSocket, view.ByHand = "", toWorker+" "
	}
	view.Files = []string{view.AllowFile, view.AllowLiveFile, view.NetworkFile}
	view.Hops = s.hops()
	if s.Deception != nil {
		view.Deception = &deceptionView{*s.Deception, s.MapDir + "/" + deceptionFile}
		view.DeceptionTable = deceptionTable
	}

	config := Config{
		Files: view.Files, DeceptionFile: view.deceptionFile(),
		Script: lua.Shared + "\n" + requestScript + "\n" + s.keyLine() + script, ScriptFile: view.LuaFile,
	}
	if err := printed.Texts(setupFiles, "setup/*.cfg", view, map[string]*string{
		"header.cfg": &config.Header, "global.cfg": &config.Global,
		"sections.cfg": &config.Sections, "rules.cfg": &config.Rules,
	}); err != nil {
		return Config{}, fmt.Errorf("haproxy setup: %w", err)
	}
	return config, nil
}

// hops are the places in ClientHeader that the rules look at.
func (s *Setup) hops() (list []int) {
	for hop := 1; hop <= MaxProxyHops && len(s.TrustedProxies) > 0; hop++ {
		list = append(list, hop)
	}
	return list
}

// socketFamily is HAProxy's prefix for the family of a listening address.
func socketFamily(hostPort string) string {
	switch a, err := netip.ParseAddrPort(hostPort); {
	case err != nil:
		return ""
	case a.Addr().Is6():
		return "ipv6@"
	default:
		return "ipv4@"
	}
}

// view is what the templates see.
type view struct {
	Setup
	AllowFile, AllowLiveFile, NetworkFile, LuaFile string
	Files                                          []string
	StatsSocket, SocatAddress                      string
	ByHand                                         string // before a command that a person gives
	SetupTable                                     string
	Ignored                                        string // header fields, with colons between
	Trusted                                        []netip.Prefix
	Hops                                           []int // 1 is the nearest name in ClientHeader
	RateCounter, HitCounter                        int
	Deception                                      *deceptionView // in the place of the setup's
	DeceptionTable, SessionTable                   string
	Tarpit                                         int64 // milliseconds
}

type deceptionView struct {
	Deception
	File string
}

// keyLine is the line of the script that has the key, as HAProxy's hmac wants it.
func (s *Setup) keyLine() string {
	return fmt.Sprintf("local session_key = %q\n\n", base64.StdEncoding.EncodeToString(s.SessionKey))
}

func (v *view) deceptionFile() string {
	if v.Deception == nil {
		return ""
	}
	return v.Deception.File
}

// WriteTo prints everything with its explanation, for a person.
func (c Config) WriteTo(w io.Writer) (int64, error) {
	return printed.Write(w, c.Header,
		printed.Part{Where: "into your global section", Text: c.Global},
		printed.Part{Where: "sections of their own", Text: c.Sections},
		printed.Part{Where: "first in every protected frontend", Text: c.Rules},
		printed.Part{Where: "the file " + c.ScriptFile, Text: c.Script},
	)
}
