package pcapfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"offpath/capture"
)

// Format is a capture file format.
type Format uint8

// The formats that a Writer writes, both little-endian with nanoseconds.
const (
	PcapNG Format = iota
	Pcap
)

// Interface describes where frames come from.
type Interface struct {
	Name string // as the system calls it; may be empty
	Link capture.LinkType
}

// Writer writes a capture file. Its output is buffered: Flush it at the end.
// Methods return the first error of the underlying writer from then on. It is
// for one goroutine.
type Writer struct {
	w          *bufio.Writer
	format     Format
	interfaces int
	scratch    [40]byte
}

// NewWriter begins a file in the given format with its first interface, number
// 0. A pcap file keeps only the link type of it.
func NewWriter(w io.Writer, format Format, first Interface) (*Writer, error) {
	wr := &Writer{w: bufio.NewWriterSize(w, 256<<10), format: format}
	switch format {
	case Pcap:
		b := wr.scratch[:pcapHeaderLen]
		binary.LittleEndian.PutUint32(b, magicNano)
		binary.LittleEndian.PutUint16(b[4:], 2) // version 2.4
		binary.LittleEndian.PutUint16(b[6:], 4)
		clear(b[8:16])
		binary.LittleEndian.PutUint32(b[16:], minSnapLength)
		binary.LittleEndian.PutUint32(b[20:], uint32(first.Link))
		wr.interfaces = 1
		_, err := wr.w.Write(b)
		return wr, err
	case PcapNG:
		var body [16]byte
		binary.LittleEndian.PutUint32(body[:], sectionMagic)
		binary.LittleEndian.PutUint16(body[4:], 1)            // version 1.0
		binary.LittleEndian.PutUint64(body[8:], ^(uint64(0))) // section length unknown
		if err := wr.block(blockSection, body[:], nil); err != nil {
			return nil, err
		}
		_, err := wr.AddInterface(first)
		return wr, err
	}
	return nil, fmt.Errorf("unknown capture file format %d", format)
}

// AddInterface describes another interface and returns its number. A pcap file
// can't have a second one.
func (w *Writer) AddInterface(in Interface) (int, error) {
	if w.format != PcapNG {
		return 0, errors.New("a pcap file has one interface")
	}
	if w.interfaces == maxInterfaces {
		return 0, fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	body := make([]byte, 8, 32)
	binary.LittleEndian.PutUint16(body, uint16(in.Link))
	if name := in.Name[:min(len(in.Name), maxNameLen)]; name != "" {
		body = appendOption(body, optionIfName, []byte(name))
	}
	body = appendOption(body, optionTsResol, []byte{9})
	body = appendOption(body, optionEnd, nil)
	w.interfaces++
	return w.interfaces - 1, w.block(blockInterface, body, nil)
}

func appendOption(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

// WritePacket writes a frame of interface 0: captured at timeNs (ns since the
// epoch), of which data was kept, and wireLen octets long on the wire.
func (w *Writer) WritePacket(timeNs int64, data []byte, wireLen int) error {
	return w.WriteInterfacePacket(0, timeNs, data, wireLen)
}

// WriteInterfacePacket is WritePacket for any interface.
func (w *Writer) WriteInterfacePacket(iface int, timeNs int64, data []byte, wireLen int) error {
	if iface < 0 || iface >= w.interfaces {
		return fmt.Errorf("packet of interface %d of %d", iface, w.interfaces)
	}
	if timeNs < 0 {
		return fmt.Errorf("packet time %d: %w", timeNs, errTime)
	}
	wireLen = max(wireLen, len(data))
	if w.format == Pcap {
		if seconds := timeNs / 1e9; seconds > 1<<32-1 {
			return fmt.Errorf("packet time %d: pcap ends in 2106", timeNs)
		}
		b := w.scratch[:pcapRecordLen]
		binary.LittleEndian.PutUint32(b, uint32(timeNs/1e9))
		binary.LittleEndian.PutUint32(b[4:], uint32(timeNs%1e9))
		binary.LittleEndian.PutUint32(b[8:], uint32(len(data)))
		binary.LittleEndian.PutUint32(b[12:], uint32(wireLen))
		if _, err := w.w.Write(b); err != nil {
			return err
		}
		_, err := w.w.Write(data)
		return err
	}
	b := w.scratch[16 : 16+packetHeaderLen]
	binary.LittleEndian.PutUint32(b, uint32(iface))
	binary.LittleEndian.PutUint32(b[4:], uint32(timeNs>>32))
	binary.LittleEndian.PutUint32(b[8:], uint32(timeNs))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(data)))
	binary.LittleEndian.PutUint32(b[16:], uint32(wireLen))
	return w.block(blockEnhanced, b, data)
}

// WriteSecrets writes a TLS key log (the format of SSLKEYLOGFILE), which
// decrypts the packets after it. A pcap file can't hold it.
func (w *Writer) WriteSecrets(keyLog []byte) error {
	if w.format != PcapNG {
		return errors.New("a pcap file holds no secrets")
	}
	b := w.scratch[16:24]
	binary.LittleEndian.PutUint32(b, secretsTLS)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(keyLog)))
	return w.block(blockSecrets, b, keyLog)
}

// block writes a pcapng block whose body is head and data, padded.
func (w *Writer) block(kind uint32, head, data []byte) error {
	padding := -(len(head) + len(data)) & 3
	total := minBlockLen + len(head) + len(data) + padding
	if total > maxRecord {
		return fmt.Errorf("record of %d octets", total)
	}
	b := w.scratch[:8]
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint32(b[4:], uint32(total))
	for _, part := range [...][]byte{b, head, data} {
		if _, err := w.w.Write(part); err != nil {
			return err
		}
	}
	tail := w.scratch[8:16]
	clear(tail[:4])
	binary.LittleEndian.PutUint32(tail[padding:], uint32(total))
	_, err := w.w.Write(tail[:padding+4])
	return err
}

// Flush hands everything written to the underlying writer.
func (w *Writer) Flush() error { return w.w.Flush() }
