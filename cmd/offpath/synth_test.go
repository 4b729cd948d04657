package main_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/capture"
	"offpath/capture/pcapfile"
)

// synthStart is the time of the first frame of made captures.
var synthStart = time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)

// synth makes a capture of HTTP connections, frame by frame.
type synth struct {
	t      *testing.T
	now    time.Time
	buf    bytes.Buffer
	writer *pcapfile.Writer
}

func newSynth(t *testing.T) *synth {
	t.Helper()
	s := &synth{t: t, now: synthStart}
	var err error
	s.writer, err = pcapfile.NewWriter(&s.buf, pcapfile.PcapNG, pcapfile.Interface{Name: "mirror0", Link: capture.LinkEthernet})
	require.NoError(t, err)
	return s
}

// bytes is the capture until now.
func (s *synth) bytes() []byte {
	s.t.Helper()
	require.NoError(s.t, s.writer.Flush())
	return bytes.Clone(s.buf.Bytes())
}

// save writes the capture to a file of the given name in a fresh folder.
func (s *synth) save(name string) string {
	s.t.Helper()
	return save(s.t, name, s.bytes())
}

func save(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// connection is one TCP connection of the capture.
type connection struct {
	s              *synth
	client, server netip.AddrPort
	sent, received uint32 // next sequence numbers of client and server
}

var bank = netip.MustParseAddrPort("203.0.113.10:80")

const (
	flagSYN = 0x02
	flagPSH = 0x08
	flagACK = 0x10
	flagFIN = 0x01
)

// connect opens a connection to the bank.
func (s *synth) connect(client string) *connection {
	c := &connection{s: s, client: netip.MustParseAddrPort(client), server: bank, sent: 1000, received: 5000}
	c.segment(true, flagSYN, nil)
	c.sent++
	c.segment(false, flagSYN|flagACK, nil)
	c.received++
	c.segment(true, flagACK, nil)
	return c
}

// exchange sends a request and its response.
func (c *connection) exchange(request, response string) {
	c.segment(true, flagPSH|flagACK, []byte(request))
	c.segment(false, flagPSH|flagACK, []byte(response))
}

func (c *connection) close() {
	c.segment(true, flagFIN|flagACK, nil)
	c.sent++
	c.segment(false, flagFIN|flagACK, nil)
	c.received++
	c.segment(true, flagACK, nil)
}

// segment writes one frame, a millisecond after the one before.
func (c *connection) segment(fromClient bool, flags byte, payload []byte) {
	src, dst, seq, ack := c.client, c.server, &c.sent, &c.received
	if !fromClient {
		src, dst, seq, ack = dst, src, ack, seq
	}
	const ethernet, ip, tcp = 14, 20, 20
	frame := make([]byte, ethernet+ip+tcp, ethernet+ip+tcp+len(payload))
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00})
	h := frame[ethernet:]
	h[0], h[8], h[9] = 0x45, 64, 6 // version and length, time to live, TCP
	binary.BigEndian.PutUint16(h[2:], uint16(ip+tcp+len(payload)))
	copy(h[12:], src.Addr().AsSlice())
	copy(h[16:], dst.Addr().AsSlice())
	h = h[ip:]
	binary.BigEndian.PutUint16(h, src.Port())
	binary.BigEndian.PutUint16(h[2:], dst.Port())
	binary.BigEndian.PutUint32(h[4:], *seq)
	if flags&flagACK != 0 {
		binary.BigEndian.PutUint32(h[8:], *ack)
	}
	h[12], h[13] = 5<<4, flags
	binary.BigEndian.PutUint16(h[14:], 65535)
	frame = append(frame, payload...)
	require.NoError(c.s.t, c.s.writer.WritePacket(c.s.now.UnixNano(), frame, len(frame)))
	*seq += uint32(len(payload))
	c.s.now = c.s.now.Add(time.Millisecond)
}

// login is a login attempt as JSON and its answer.
func login(user, password string, right bool) (request, response string) {
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, user, password)
	request = fmt.Sprintf("POST /api/login HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: app/1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	answer := `{"error":"invalid_credentials"}`
	status := "401 Unauthorized"
	if right {
		answer, status = fmt.Sprintf(`{"access_token":"token-of-%s-0123456789abcdef"}`, user), "200 OK"
	}
	response = fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(answer), answer)
	return request, response
}

// attack makes a capture in which customers log in and two attackers try
// passwords of many accounts.
func attack(t *testing.T) *synth {
	t.Helper()
	s := newSynth(t)
	for i := range 60 {
		c := s.connect(fmt.Sprintf("198.51.100.%d:%d", i%50+1, 20000+i))
		user := fmt.Sprintf("customer%d", i)
		if i%10 == 0 {
			c.exchange(login(user, "slip", false))
		}
		c.exchange(login(user, "right"+user, true))
		c.exchange("GET /api/accounts HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: app/1\r\nAuthorization: Bearer token-of-"+user+"-0123456789abcdef\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")
		c.close()
		s.now = s.now.Add(time.Second)
	}
	for i := range 80 {
		c := s.connect(fmt.Sprintf("192.0.2.%d:%d", i%2+1, 30000+i))
		c.exchange(login(fmt.Sprintf("victim%d", i), fmt.Sprintf("guess%d", i), false))
		c.close()
		s.now = s.now.Add(200 * time.Millisecond)
	}
	return s
}
