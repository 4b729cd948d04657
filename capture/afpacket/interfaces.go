package afpacket

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"offpath/capture"
	"offpath/capture/afpacket/internal/tpacket"
)

// Hardware types from include/uapi/linux/if_arp.h.
const (
	arphrdEther    = 1
	arphrdLoopback = 772
	arphrdNone     = 0xfffe // tun: raw IP
)

// Interface is the state of one captured interface.
type Interface struct {
	Name  string
	Link  capture.LinkType
	Up    bool   // whether it captures
	Gone  bool   // it was removed and won't come back
	Downs uint64 // times it went down during the capture
	Drops uint64 // frames that it counts as dropped or missed since start, see devStats
}

// iface is an interface that is captured from. Its first ring keeps its state.
type iface struct {
	name           string
	ifindex        int
	link           capture.LinkType
	ignoreOutgoing bool
	rings          []*tpacket.Ring // by worker

	down  atomic.Bool
	gone  atomic.Bool
	downs atomic.Uint64
}

// lookUp finds an interface and checks that it can be captured from.
func lookUp(name string, ignoreOutgoing bool) (*iface, error) {
	l, err := tpacket.LinkByName(name)
	if errors.Is(err, tpacket.ErrNoLink) {
		return nil, fmt.Errorf("%w; there are: %s", ErrNoInterface, present())
	}
	if err != nil {
		return nil, err
	}
	link, err := linkType(l.Type)
	if err != nil {
		return nil, err
	}
	if !l.Up {
		return nil, fmt.Errorf("%w: bring it up with \"ip link set %s up\"", ErrInterfaceDown, name)
	}
	return &iface{
		name:           name,
		ifindex:        l.Index,
		link:           link,
		ignoreOutgoing: ignoreOutgoing || l.Type == arphrdLoopback,
	}, nil
}

// linkType tells what the frames of an interface of this hardware type are.
func linkType(hardware uint16) (capture.LinkType, error) {
	switch hardware {
	case arphrdEther, arphrdLoopback:
		return capture.LinkEthernet, nil
	case arphrdNone:
		return capture.LinkRaw, nil
	}
	return 0, fmt.Errorf("%w: its hardware type is %d", ErrLinkType, hardware)
}

// present lists the interfaces there are.
func present() string {
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		return "none"
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return strings.Join(names, ", ")
}
