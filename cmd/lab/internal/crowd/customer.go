package crowd

import (
	"net/netip"

	"offpath/cmd/lab/internal/bank"
	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/software"
)

// carriers is the number of addresses that customers of mobile networks
// share.
const carriers = 24

// Address is where a customer comes from, always the same: one in six has an
// IPv6 network, one in six shares a carrier's address, the others have an IPv4
// address of their own.
func Address(c bank.Customer) netip.Addr {
	switch c.Index % 6 {
	case 1:
		a := internet.Homes6.Addr().As16()
		a[5], a[6], a[7] = byte(c.Index>>12)&0xf, byte(c.Index>>8), byte(c.Index)
		a[12], a[15] = byte(c.Index*31), byte(c.Index*17)|1
		return netip.AddrFrom16(a)
	case 2:
		a := internet.Carriers.Addr().As4()
		a[3] = byte(10 + c.Index/6%carriers)
		return netip.AddrFrom4(a)
	}
	a := internet.Homes.Addr().As4()
	a[2], a[3] = byte(c.Index>>8), byte(c.Index)
	return netip.AddrFrom4(a)
}

// program is the software a customer uses, always the same.
func program(c bank.Customer) software.Software {
	switch n := c.Index * 7 % 100; {
	case n < 38:
		return software.IPhone
	case n < 74:
		return software.Android
	case n < 85:
		return software.Chrome
	case n < 92:
		return software.Firefox
	}
	return software.Quicken
}
