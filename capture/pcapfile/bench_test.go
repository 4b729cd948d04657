package pcapfile

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/capture"
)

// apiFrame is an Ethernet frame of a 408-octet request on the n-th of 1000
// connections, or of its answer.
func apiFrame(n int, answer bool) []byte {
	const payload = 408
	b := make([]byte, 14+20+20+payload)
	copy(b, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00")
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], 20+20+payload)
	client, server := uint32(0xc6336400+n%250), uint32(0xc0000201)
	port, service := uint16(32768+n%1000), uint16(80)
	if answer {
		client, server, port, service = server, client, service, port
	}
	binary.BigEndian.PutUint32(ip[12:], client)
	binary.BigEndian.PutUint32(ip[16:], server)
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, port)
	binary.BigEndian.PutUint16(tcp[2:], service)
	binary.BigEndian.PutUint32(tcp[4:], uint32(n/1000*payload))
	tcp[12], tcp[13] = 5<<4, capture.FlagACK|capture.FlagPSH
	copy(tcp[20:], "POST /api/v1/login HTTP/1.1\r\nHost: bank.example\r\n\r\n")
	return b
}

// BenchmarkSource reads a capture of 462-octet frames. "all" includes decoding
// and, with more than one worker, handing over.
func BenchmarkSource(b *testing.B) {
	const frames = 200_000
	for name, format := range map[string]Format{"pcap": Pcap, "pcapng": PcapNG} {
		path := filepath.Join(b.TempDir(), name)
		f, err := os.Create(path)
		require.NoError(b, err)
		w, err := NewWriter(f, format, Interface{"eth0", capture.LinkEthernet})
		require.NoError(b, err)
		octets := 0
		for i := range frames {
			data := apiFrame(i/2, i%2 == 1)
			octets += len(data)
			require.NoError(b, w.WritePacket(int64(i)*1000, data, len(data)))
		}
		require.NoError(b, w.Flush())
		require.NoError(b, f.Close())
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				b.SetBytes(int64(octets))
				b.ReportAllocs()
				for b.Loop() {
					s, err := Open([]string{path}, Options{Workers: workers})
					require.NoError(b, err)
					require.NoError(b, s.Run(context.Background(), func(int, capture.Batch) {}))
					require.EqualValues(b, frames, s.Stats().Frames[capture.DispositionTCP])
				}
				b.ReportMetric(float64(frames)*float64(b.N)/b.Elapsed().Seconds(), "packets/s")
			})
		}
	}
}
