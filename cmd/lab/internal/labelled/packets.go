package labelled

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"offpath/capture"
	"offpath/capture/pcapfile"
	"offpath/cmd/lab/internal/segment"
	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
)

const packetsEnd = ".pcap"

// sight is how a transaction is known in a capture, before it has an id.
type sight struct {
	source netip.AddrPort
	start  int64
}

// Spoken is labelled traffic whose messages are known; see traffic.Stream.
type Spoken interface {
	Told
	Text() (ask, reply string)
	Peer() (from netip.Addr, to netip.AddrPort)
	Proxies() []netip.Prefix
}

// WritePackets writes a scenario as packets, a TCP connection for each transaction,
// and labels with the ids that the sensor gives them. It says how many transactions
// there are.
func WritePackets(ctx context.Context, dir, name string, run Spoken) (n int, err error) {
	path := filepath.Join(dir, name+packetsEnd)
	seen, err := writeFrames(path, run)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	s := new(Source)
	if err := s.openPackets(ctx, path, run.Proxies()); err != nil {
		return 0, err
	}
	defer s.close()
	marks, err := create(filepath.Join(dir, name+labelsEnd))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, marks.close()) }()
	encoder := json.NewEncoder(marks)
	for {
		tx, err := s.next()
		if tx == nil {
			if err == nil && n != len(seen) {
				err = fmt.Errorf("%s: %d transactions were written, the sensor finds %d", path, len(seen), n)
			}
			return n, err
		}
		truth, known := seen[sight{tx.Source, tx.Start}]
		if !known {
			return n, fmt.Errorf("%s: the sensor finds a transaction of %v that was not written", path, tx.Source)
		}
		n++
		if err := encoder.Encode(lineOf(tx.ID, truth)); err != nil {
			return n, fmt.Errorf("write label %d: %w", n, err)
		}
	}
}

func writeFrames(path string, run Spoken) (seen map[sight]traffic.Truth, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := pcapfile.NewWriter(f, pcapfile.Pcap, pcapfile.Interface{Link: capture.LinkEthernet})
	if err != nil {
		return nil, err
	}
	seen = make(map[sight]traffic.Truth)
	var (
		out frames
		tx  reassembly.Transaction
	)
	for {
		truth, more := run.Next(&tx)
		if !more {
			break
		}
		from, to := run.Peer()
		c := conversation{
			client: netip.AddrPortFrom(from, uint16(1024+len(seen)%64000)), server: to,
			out: &out, clientSeq: uint32(len(seen)) * 2654435761, serverSeq: uint32(len(seen)) * 40503,
		}
		ask, reply := run.Text()
		c.write(tx.Start, tx.End, ask, reply)
		seen[sight{c.client, tx.Start}] = truth
		if err := out.flush(w, tx.End-traffic.MaxDuration-opening); err != nil {
			return nil, err
		}
	}
	if err := out.flush(w, tx.End+1e9); err != nil {
		return nil, err
	}
	return seen, w.Flush()
}

// opening is how long before its request a connection begins, ns.
const opening = 3e6

// conversation is a TCP connection with one request.
type conversation struct {
	client, server       netip.AddrPort
	clientSeq, serverSeq uint32
	out                  *frames
}

func (c *conversation) write(start, end int64, ask, reply string) {
	c.say(start-opening, true, segment.SYN, "")
	c.clientSeq++
	c.say(start-2e6, false, segment.SYN|segment.ACK, "")
	c.serverSeq++
	c.say(start-1e6, true, segment.ACK, "")
	c.speak(start, true, ask)
	c.speak(end-int64(len(reply)/segment.Size), false, reply) // a nanosecond between segments
	c.say(end+0.2e6, true, segment.ACK|segment.FIN, "")
	c.clientSeq++
	c.say(end+0.4e6, false, segment.ACK|segment.FIN, "")
	c.serverSeq++
	c.say(end+0.6e6, true, segment.ACK, "")
}

// speak writes the segments of a message.
func (c *conversation) speak(at int64, client bool, message string) {
	for message != "" {
		part := message[:min(len(message), segment.Size)]
		message = message[len(part):]
		c.say(at, client, segment.ACK|segment.PSH, part)
		if client {
			c.clientSeq += uint32(len(part))
		} else {
			c.serverSeq += uint32(len(part))
		}
		at++
	}
}

func (c *conversation) say(at int64, client bool, flags byte, payload string) {
	s := segment.Segment{Source: c.client, Destination: c.server, Seq: c.clientSeq, Ack: c.serverSeq, Flags: flags, Payload: []byte(payload)}
	if !client {
		s.Source, s.Destination, s.Seq, s.Ack = c.server, c.client, c.serverSeq, c.clientSeq
	}
	if flags&segment.ACK == 0 {
		s.Ack = 0
	}
	c.out.serial++
	heap.Push(c.out, frame{at, c.out.serial, segment.Append(nil, &s)})
}

// frame waits for those before it.
type frame struct {
	at     int64
	serial int
	octets []byte
}

// frames is a heap by time.
type frames struct {
	list   []frame
	serial int
}

func (h *frames) Len() int { return len(h.list) }
func (h *frames) Less(i, j int) bool {
	a, b := &h.list[i], &h.list[j]
	return a.at < b.at || a.at == b.at && a.serial < b.serial
}
func (h *frames) Swap(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *frames) Push(x any)    { h.list = append(h.list, x.(frame)) }
func (h *frames) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}

// flush writes the frames before a time.
func (h *frames) flush(w *pcapfile.Writer, before int64) error {
	for len(h.list) > 0 && h.list[0].at < before {
		f := heap.Pop(h).(frame)
		if err := w.WritePacket(f.at, f.octets, len(f.octets)); err != nil {
			return err
		}
	}
	return nil
}
