package bench

import (
	"os"

	"offpath/capture"
	"offpath/capture/pcapfile"
)

// WriteFile generates a capture of the given shape into a pcap file, the one
// format that all the programs measured can read.
func WriteFile(path string, s Shape) (transactions int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	w, err := pcapfile.NewWriter(f, pcapfile.Pcap, pcapfile.Interface{Link: capture.LinkEthernet})
	if err != nil {
		return 0, err
	}
	if transactions, err = Generate(s, func(ns int64, frame []byte) error {
		return w.WritePacket(ns, frame, len(frame))
	}); err != nil {
		return transactions, err
	}
	return transactions, w.Flush()
}
