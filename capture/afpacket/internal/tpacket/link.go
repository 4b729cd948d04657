package tpacket

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Link is a network interface as the kernel describes it.
type Link struct {
	Name  string
	Index int
	Type  uint16 // ARPHRD_ value
	Up    bool   // administratively
}

// ErrNoLink is returned for an interface that does not exist.
var ErrNoLink = errors.New("no such interface")

// LinkByName looks an interface up in the network namespace of the calling
// thread.
func LinkByName(name string) (Link, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Link{}, fmt.Errorf("open socket to look up interface: %w", err)
	}
	defer unix.Close(fd)
	return linkByName(fd, name)
}

// LinkByIndex looks an interface up in the network namespace of the ring,
// whatever that of the calling thread is.
func (r *Ring) LinkByIndex(index int) (Link, error) {
	request, err := unix.NewIfreq("")
	if err != nil {
		return Link{}, err
	}
	request.SetUint32(uint32(index))
	if err := ioctl(r.fd, unix.SIOCGIFNAME, request); err != nil {
		return Link{}, err
	}
	return linkByName(r.fd, request.Name())
}

// Gone tells whether the interface was removed, or moved to another network
// namespace: the kernel has then unbound the socket for good.
func (r *Ring) Gone() bool {
	address, err := unix.Getsockname(r.fd)
	if err != nil {
		return false
	}
	link, ok := address.(*unix.SockaddrLinklayer)
	return ok && link.Ifindex == -1
}

// linkByName asks through any socket; its network namespace counts.
func linkByName(fd int, name string) (Link, error) {
	request, err := unix.NewIfreq(name)
	if err != nil || name == "" {
		return Link{}, ErrNoLink // longer than an interface name can be
	}
	link := Link{Name: name}
	if err := ioctl(fd, unix.SIOCGIFINDEX, request); err != nil {
		return Link{}, err
	}
	link.Index = int(request.Uint32())
	if err := ioctl(fd, unix.SIOCGIFHWADDR, request); err != nil {
		return Link{}, err
	}
	link.Type = request.Uint16() // sa_family of ifr_hwaddr
	if err := ioctl(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return Link{}, err
	}
	link.Up = request.Uint16()&unix.IFF_UP != 0
	return link, nil
}

func ioctl(fd int, number uint, request *unix.Ifreq) error {
	err := unix.IoctlIfreq(fd, number, request)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return ErrNoLink
	}
	if err != nil {
		return fmt.Errorf("look up interface: %w", err)
	}
	return nil
}
