// Package plain reads the HTTP messages of a capture as one would write it in
// an afternoon: google/gopacket's TCP reassembly, and net/http behind a reader
// per direction. The benchmark measures offpath beside it.
//
// It goes as far as is fair: headers are decoded without allocation, packets
// that carry nothing are left out (one after the FINs would begin the connection
// anew), and idle connections are closed by the capture's own time.
package plain

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/google/gopacket/reassembly"
)

// Messages are how many were read to their end.
type Messages struct{ Requests, Responses int64 }

const (
	flushEvery = time.Minute // of the capture's time
	flushAfter = 2 * time.Minute
)

// Read reads a pcap file of Ethernet and IPv4.
func Read(path string) (Messages, error) {
	f, err := os.Open(path)
	if err != nil {
		return Messages{}, err
	}
	defer f.Close()
	r, err := pcapgo.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return Messages{}, err
	}
	p := &program{}
	if err := p.assemble(r); err != nil {
		return Messages{}, err
	}
	p.readers.Wait()
	return Messages{p.requests.Load(), p.responses.Load()}, nil
}

type program struct {
	readers             sync.WaitGroup
	requests, responses atomic.Int64
}

// packetContext is the capture information that the assembler hands on.
type packetContext gopacket.CaptureInfo

func (c *packetContext) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(*c) }

func (p *program) assemble(r *pcapgo.Reader) error {
	var ethernet layers.Ethernet
	var ip layers.IPv4
	var tcp layers.TCP
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &ethernet, &ip, &tcp)
	parser.IgnoreUnsupported = true
	assembler := reassembly.NewAssembler(reassembly.NewStreamPool(p))
	defer assembler.FlushAll()
	var decoded []gopacket.LayerType
	var flushed time.Time
	for {
		data, info, err := r.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := parser.DecodeLayers(data, &decoded); err != nil || len(decoded) < 3 {
			continue
		}
		if len(tcp.Payload) == 0 && !tcp.SYN && !tcp.FIN && !tcp.RST {
			continue
		}
		assembler.AssembleWithContext(ip.NetworkFlow(), &tcp, (*packetContext)(&info))
		if flushed.IsZero() {
			flushed = info.Timestamp
		}
		if info.Timestamp.Sub(flushed) > flushEvery {
			flushed = info.Timestamp
			assembler.FlushCloseOlderThan(flushed.Add(-flushAfter))
		}
	}
}

// New implements reassembly.StreamFactory: a goroutine reads each direction.
func (p *program) New(_, _ gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	s := &stream{}
	for d := range s.halves {
		s.halves[d] = &half{chunks: make(chan []byte, 16)}
	}
	p.readers.Go(func() { s.halves[0].read(p.request) })
	p.readers.Go(func() { s.halves[1].read(p.response) })
	return s
}

func (p *program) request(b *bufio.Reader) error {
	m, err := http.ReadRequest(b)
	if err != nil {
		return err
	}
	return count(m.Body, &p.requests)
}

func (p *program) response(b *bufio.Reader) error {
	m, err := http.ReadResponse(b, nil)
	if err != nil {
		return err
	}
	return count(m.Body, &p.responses)
}

// count reads a message to its end.
func count(body io.ReadCloser, messages *atomic.Int64) error {
	defer body.Close()
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	messages.Add(1)
	return nil
}

// stream is one connection: the client's direction and the server's.
type stream struct{ halves [2]*half }

// Accept implements reassembly.Stream.
func (s *stream) Accept(*layers.TCP, gopacket.CaptureInfo, reassembly.TCPFlowDirection, reassembly.Sequence, *bool, reassembly.AssemblerContext) bool {
	return true
}

// ReassembledSG implements reassembly.Stream.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	direction, _, _, _ := sg.Info()
	length, _ := sg.Lengths()
	if length == 0 {
		return
	}
	h := s.halves[0]
	if direction == reassembly.TCPDirServerToClient {
		h = s.halves[1]
	}
	h.chunks <- append([]byte(nil), sg.Fetch(length)...)
}

// ReassemblyComplete implements reassembly.Stream.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool {
	for _, h := range s.halves {
		close(h.chunks)
	}
	return true
}

// half is one direction as an io.Reader.
type half struct {
	chunks chan []byte
	rest   []byte
}

// Read implements io.Reader.
func (h *half) Read(b []byte) (int, error) {
	for len(h.rest) == 0 {
		next, open := <-h.chunks
		if !open {
			return 0, io.EOF
		}
		h.rest = next
	}
	n := copy(b, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

// read reads messages until one is none, and passes over the rest.
func (h *half) read(message func(*bufio.Reader) error) {
	b := bufio.NewReader(h)
	for message(b) == nil {
	}
	for range h.chunks {
	}
}
