package tls_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/reassembly/http1"
	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/keylog"
	"offpath/reassembly/tls/quic"
)

// corpora lies beside the project; see its README.md.
const corpora = "../../../shared/corpora"

// sighting is a ClientHello of a capture.
type sighting struct {
	source, destination netip.AddrPort
	quic                bool
	ja3, ja4, sni       string
	version             uint16 // chosen by the server
}

// sensor reads the TLS of a capture.
type sensor struct {
	reader    *tls.Reader
	secrets   *keylog.Store
	budget    *tcp.Budget
	tracker   *quic.Tracker
	sightings []*sighting
	flows     []*flow
}

// flow is a connection that speaks TLS, maybe after something else.
type flow struct {
	sensor *sensor
	conn   tls.Conn
	client tcp.Direction
	seen   *sighting
	plain  [2][]byte
}

func (f *flow) ClientHello(h *hello.Client) {
	f.seen.ja3, f.seen.ja4, f.seen.sni = h.JA3(), h.JA4(hello.TCP), string(h.ServerName)
	f.sensor.sightings = append(f.sensor.sightings, f.seen)
}
func (f *flow) ServerHello(h *hello.Server) { f.seen.version = h.Version() }
func (f *flow) Gap(bool, int64, bool)       {}
func (f *flow) End(bool, bool)              {}
func (f *flow) Plain(client bool, p *tls.Plain) int {
	i := index(client)
	f.plain[i] = append(f.plain[i], p.Data...)
	return len(p.Data)
}

func (s *sensor) Data(f *tcp.Flow, d tcp.Direction, seg *tcp.Segment) int {
	c, _ := f.Conn.(*flow)
	if c == nil {
		if tls.Looks(seg.Data) != tls.ClientHello {
			return len(seg.Data)
		}
		c = &flow{sensor: s, client: d, seen: &sighting{source: f.Endpoint(d), destination: f.Endpoint(d.Other())}}
		f.Conn = c
		s.flows = append(s.flows, c)
	}
	in := tls.Input{Data: seg.Data, Position: seg.Position}
	c.conn.Read(s.reader, s.budget, d == c.client, &in, true, c)
	return len(seg.Data)
}

func (s *sensor) Missing(f *tcp.Flow, d tcp.Direction, n int64, _ tcp.Cause) {
	if c, _ := f.Conn.(*flow); c != nil {
		c.conn.Missing(s.reader, s.budget, d == c.client, n, c)
	}
}

func (s *sensor) Conflict(*tcp.Flow, tcp.Direction) {}
func (s *sensor) End(*tcp.Flow, tcp.Direction)      {}
func (s *sensor) Timeout(*tcp.Flow)                 {}
func (s *sensor) Close(f *tcp.Flow, _ tcp.Reason) {
	if c, _ := f.Conn.(*flow); c != nil {
		c.conn.Close(s.reader, s.budget, c)
	}
}

// datagram reads a packet that is no TCP.
func (s *sensor) datagram(p *capture.Packet) {
	link := layers.LinkType(p.Link)
	if p.Link == capture.LinkRaw {
		link = layers.LinkTypeIPv4
	}
	packet := gopacket.NewPacket(p.Data, link, gopacket.NoCopy)
	udp, _ := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
	network := packet.NetworkLayer()
	if udp == nil || network == nil || !quic.Looks(udp.Payload) {
		return
	}
	from, to := network.NetworkFlow().Endpoints()
	src, _ := netip.AddrFromSlice(from.Raw())
	dst, _ := netip.AddrFromSlice(to.Raw())
	flow := quic.Flow{Source: netip.AddrPortFrom(src, uint16(udp.SrcPort)), Destination: netip.AddrPortFrom(dst, uint16(udp.DstPort))}
	if h := s.tracker.Datagram(flow, udp.Payload); h != nil {
		s.sightings = append(s.sightings, &sighting{
			source: flow.Source, destination: flow.Destination, quic: true,
			ja3: h.JA3(), ja4: h.JA4(hello.QUIC), sni: string(h.ServerName),
		})
	}
}

// watch reads the captures of a case.
func watch(t testing.TB, dir string, keyLog []byte) *sensor {
	t.Helper()
	s := &sensor{secrets: store(t, keyLog), budget: tcp.NewBudget(64 << 20)}
	var err error
	s.tracker, err = quic.New(quic.Config{})
	require.NoError(t, err)
	s.reader, err = tls.NewReader(tls.Config{Secrets: s.secrets})
	require.NoError(t, err)
	var files []string
	for _, pattern := range []string{"*.pcap", "*.pcapng", "*.pcap.gz", "*.trace*", "*.cap"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		files = append(files, matches...)
	}
	for _, file := range files {
		table, err := tcp.New(tcp.Config{MaxFlows: 1 << 16}, s, s.budget, &tcp.Stats{})
		require.NoError(t, err)
		source, err := pcapfile.Open([]string{file}, pcapfile.Options{Workers: 1})
		if err != nil {
			continue
		}
		err = source.Run(context.Background(), func(_ int, batch capture.Batch) {
			s.secrets.Add(batch.Secrets)
			for i := range batch.Packets {
				p := &batch.Packets[i]
				if p.Disposition == capture.DispositionTCP {
					table.Packet(p)
				} else {
					s.datagram(p)
				}
			}
		})
		if err != nil {
			t.Logf("%v", err)
		}
		table.Close()
	}
	return s
}

func needCorpora(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(corpora); err != nil {
		t.Skipf("the corpora are not there: %v", err)
	}
}

func readJSON(t testing.TB, path string, into any) bool {
	t.Helper()
	octets, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	require.NoError(t, json.Unmarshal(octets, into), path)
	return true
}

// expectation is what the peers of all corpora say of hellos.
type expectation struct {
	Fingerprints []struct {
		Src    string
		Sport  uint16
		Kind   string
		Values []string
		Agree  bool
	}
	Flows []struct {
		Proto, Src, Dst string
		Sport, Dport    uint16
		SNI             string `json:"host_or_sni"`
		JA3, JA4        string
		ALPN            string `json:"tls_alpn_offered"`
	}
	Sessions []struct {
		Src, Dst     string
		Sport, Dport uint16
		HTTP         struct{ Host []string }
		TLS          struct{ JA3, JA4 []string }
	}
	Filters []struct {
		Event    string
		Count    int
		Portable bool
		Neutral  struct{ JA4, SNI string }
	}
	TLS []struct {
		Src     string
		Sport   uint16
		SNI     *string
		Version *string
	}
}

// disputed are values of peers that the specification contradicts.
var disputed = map[string]string{
	"t12d550500_168bb377f8c8_a1e935682795": "nDPI writes d where there is no server name; the specification wants i",
	"t13d1811h2_f71e3e15ae0d_5c3a8cf9b2bc": "likewise",
	"t10i070600_c50f5591e341_ce66f3b797c1": "Suricata hashes an underscore where no signature algorithms follow; the specification, FoxIO's programs and Arkime do not",
}

// find returns the hellos from an address and port.
func (s *sensor) find(src string, sport uint16) (list []*sighting) {
	for _, seen := range s.sightings {
		if seen.source.Port() == sport && seen.source.Addr().String() == src {
			list = append(list, seen)
		}
	}
	return list
}

// TestCorporaHellos compares the hellos of every capture with what the peers say.
func TestCorporaHellos(t *testing.T) {
	needCorpora(t)
	cases, err := filepath.Glob(filepath.Join(corpora, "*/*/case.json"))
	require.NoError(t, err)
	compared := map[string]int{}
	for _, path := range cases {
		var about struct {
			Tags []string
		}
		readJSON(t, path, &about)
		if !slices.ContainsFunc(about.Tags, func(tag string) bool {
			return strings.HasPrefix(tag, "tls") || tag == "ja3" || tag == "ja4" || tag == "quic"
		}) {
			continue
		}
		dir := filepath.Dir(path)
		name := strings.TrimPrefix(dir, corpora+"/")
		corpus, _, _ := strings.Cut(name, "/")
		t.Run(name, func(t *testing.T) {
			s := watch(t, dir, nil)
			var e expectation
			readJSON(t, filepath.Join(dir, "expect.json"), &e)
			n := s.compare(t, &e) + s.oracle(t, filepath.Join(dir, "oracle-tshark.jsonl"))
			compared[corpus] += n
		})
	}
	for corpus, n := range compared {
		t.Logf("%-20s %4d values compared", corpus, n)
	}
}

// compare holds the hellos against what the corpora's peers say, and returns how
// many values were compared.
func (s *sensor) compare(t testing.TB, e *expectation) (n int) {
	equal := func(src string, sport uint16, what, want string, get func(*sighting) string) {
		list := s.find(src, sport)
		if len(list) == 0 {
			return // the packets are wrapped in what is not decoded
		}
		if disputed[want] != "" {
			return
		}
		n++
		assert.Equal(t, want, get(list[0]), "%s of %s port %d", what, src, sport)
	}
	ja3 := func(s *sighting) string { return s.ja3 }
	ja4 := func(s *sighting) string { return s.ja4 }
	sni := func(s *sighting) string { return s.sni }
	for _, f := range e.Fingerprints {
		if f.Kind == "ja4" {
			equal(f.Src, f.Sport, "JA4", f.Values[0], ja4)
		}
	}
	for _, f := range e.Flows {
		if f.JA3 != "" {
			equal(f.Src, f.Sport, "JA3", f.JA3, ja3)
			if f.SNI != "" {
				equal(f.Src, f.Sport, "SNI", f.SNI, sni)
			}
		}
		if f.JA4 != "" && (f.ALPN == "" || strings.HasPrefix(f.ALPN, "h2")) {
			equal(f.Src, f.Sport, "JA4", f.JA4, ja4)
		}
	}
	for _, f := range e.Sessions {
		if len(f.TLS.JA3) == 1 {
			equal(f.Src, f.Sport, "JA3", f.TLS.JA3[0], ja3)
		}
		if len(f.TLS.JA4) == 1 {
			equal(f.Src, f.Sport, "JA4", f.TLS.JA4[0], ja4)
		}
	}
	for _, f := range e.Filters {
		if !f.Portable || f.Neutral.JA4 == "" && f.Neutral.SNI == "" || disputed[f.Neutral.JA4] != "" {
			continue
		}
		count := 0
		known := map[netip.AddrPort]bool{}
		for _, seen := range s.sightings {
			if known[seen.source] {
				continue // it has one event for a connection
			}
			known[seen.source] = true
			if (f.Neutral.JA4 == "" || f.Neutral.JA4 == seen.ja4) && (f.Neutral.SNI == "" || f.Neutral.SNI == seen.sni) {
				count++
			}
		}
		n++
		assert.Equal(t, f.Count, count, "hellos with %+v", f.Neutral)
	}
	versions := map[string]uint16{"TLSv10": hello.VersionTLS10, "TLSv11": hello.VersionTLS11, "TLSv12": hello.VersionTLS12, "TLSv13": hello.VersionTLS13}
	for _, f := range e.TLS {
		if f.SNI != nil {
			equal(f.Src, f.Sport, "SNI", *f.SNI, sni)
		}
		if f.Version != nil && versions[*f.Version] != 0 {
			equal(f.Src, f.Sport, "version", fmt.Sprintf("%04x", versions[*f.Version]), func(s *sighting) string { return fmt.Sprintf("%04x", s.version) })
		}
	}
	return n
}

// oracle holds the hellos against tshark's lines: the first of each connection.
func (s *sensor) oracle(t testing.TB, path string) (n int) {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	checked := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		text := func(key string) string { v, _ := line[key].(string); return v }
		var port uint16
		fmt.Sscan(text("tcp.srcport"), &port)
		if text("tls.handshake.type") != "1" || text("tls.handshake.ja3") == "" || port == 0 {
			continue
		}
		src := text("ip.src")
		if src == "" {
			src = text("ipv6.src")
		}
		list := s.find(src, port)
		stream := text("tcp.stream")
		if len(list) == 0 || checked[stream] {
			continue
		}
		checked[stream] = true
		n++
		assert.True(t, slices.ContainsFunc(list, func(seen *sighting) bool { return seen.ja3 == text("tls.handshake.ja3") }), "JA3 of %s port %d: %v, want %s", src, port, list[0].ja3, text("tls.handshake.ja3"))
		if name := text("tls.handshake.extensions_server_name"); name != "" {
			assert.True(t, slices.ContainsFunc(list, func(seen *sighting) bool { return seen.sni == name }), "SNI %s", name)
		}
	}
	return n
}

// TestCorporaDecryption decrypts the captures that come with their secrets.
func TestCorporaDecryption(t *testing.T) {
	needCorpora(t)
	t.Run("zeek, TLS 1.2 with a key log: the requests that tshark lists", func(t *testing.T) {
		dir := filepath.Join(corpora, "zeek/policy.protocols.ssl.decryption-keylog")
		log, err := os.ReadFile(filepath.Join(dir, "keylog.txt"))
		require.NoError(t, err)
		s := watch(t, dir, log)
		got := map[netip.AddrPort][]string{}
		for _, f := range s.flows {
			if list := requests(t, f.plain[0]); len(list) > 0 {
				got[f.seen.source] = list
			}
		}
		want := map[netip.AddrPort][]string{}
		octets, err := os.ReadFile(filepath.Join(dir, "oracle-tshark.jsonl"))
		require.NoError(t, err)
		for line := range bytes.Lines(octets) {
			var l map[string]any
			require.NoError(t, json.Unmarshal(line, &l))
			if method, ok := l["http.request.method"].(string); ok {
				at := netip.MustParseAddrPort(fmt.Sprintf("%s:%s", l["ip.src"], l["tcp.srcport"]))
				want[at] = append(want[at], fmt.Sprintf("%s %s %s", method, l["http.request.uri"], l["http.host"]))
			}
		}
		require.NotEmpty(t, want)
		assert.Equal(t, want, got)
	})
	t.Run("foxio-ja4, TLS 1.3 with secrets in the pcapng: HTTP/2 on both sides", func(t *testing.T) {
		s := watch(t, filepath.Join(corpora, "foxio-ja4/http2-with-cookies.pcapng"), nil)
		require.NotZero(t, s.secrets.Stats().Secrets)
		decrypted := 0
		for _, f := range s.flows {
			if len(f.plain[0]) == 0 {
				continue
			}
			decrypted++
			assert.Equal(t, http1.HTTP2, http1.Recognise(f.plain[0]))
			assert.Equal(t, "h2", f.conn.Protocol())
			require.Greater(t, len(f.plain[1]), 9)
			assert.EqualValues(t, 4, f.plain[1][3], "the server's first frame is SETTINGS")
		}
		assert.NotZero(t, decrypted)
	})
}

// requests lists the requests of plaintext.
func requests(t testing.TB, plain []byte) (list []string) {
	t.Helper()
	r := http1.NewReader(0)
	var p http1.Parser
	budget := tcp.NewBudget(1 << 20)
	in := http1.Input{Data: plain}
	for {
		switch p.Read(r, budget, &in) {
		case http1.More:
			return list
		case http1.Lost:
			t.Error("what follows is no message")
			return list
		case http1.Head:
			host := ""
			for i := range r.Head.Fields {
				if f := &r.Head.Fields[i]; strings.EqualFold(string(f.Name), "host") {
					host = string(f.Value)
				}
			}
			list = append(list, fmt.Sprintf("%s %s %s", r.Head.Method, r.Head.Target, host))
		}
	}
}
