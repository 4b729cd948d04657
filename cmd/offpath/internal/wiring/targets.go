package wiring

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"offpath/cmd/offpath/internal/config"
	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/awswaf"
	"offpath/mitigate/cloudflare"
	"offpath/mitigate/crowdsec"
	"offpath/mitigate/dataplane"
	"offpath/mitigate/envoy"
	"offpath/mitigate/f5bigip"
	"offpath/mitigate/feed"
	"offpath/mitigate/gobgp"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/netscaler"
	"offpath/mitigate/nftables"
	"offpath/mitigate/nginx"
	"offpath/mitigate/nginxfile"
	"offpath/mitigate/nginxplus"
	"offpath/mitigate/webhook"
	"offpath/reassembly/content"
)

// targetKind makes what belongs to one type of target.
type targetKind struct {
	open func(t *config.Target, c *config.Config) (mitigate.Target, error)
	// setup is what the load balancer needs in its own configuration; t may have a type
	// alone.
	setup func(t *config.Target, c *config.Config) (io.WriterTo, error)
	// capabilities are the privileges (of linux/capability.h) that it goes on needing.
	capabilities []int
}

var targetKinds = map[string]targetKind{
	haproxy.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			key, err := sessionKey(t, c)
			if err != nil {
				return nil, err
			}
			return haproxy.New(haproxy.Options{
				Name: t.Name, Address: t.Address, MapDir: t.MapDir, Deceives: t.DeceiveStatus != 0, SessionKey: key,
			})
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			key, err := sessionKey(t, c)
			if err != nil {
				return nil, err
			}
			setup := haproxy.Setup{
				SessionKey:        key,
				Address:           t.Address,
				MapDir:            t.MapDir,
				PeerName:          t.Name,
				PeerAddress:       t.PeerAddress,
				TrustedProxies:    c.Client.TrustedProxies,
				IgnoreHeaders:     c.Client.IgnoreHeaders,
				Deception:         deception(t),
				Tarpit:            t.Tarpit,
				TarpitConnections: t.TarpitConnections,
			}
			for _, o := range c.Mitigate.Targets {
				if slices.Contains(t.Peers, o.Name) {
					setup.Peers = append(setup.Peers, haproxy.Peer{Name: o.Name, Address: o.PeerAddress})
				}
			}
			return setup.Render()
		},
	},
	dataplane.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return dataplane.New(dataplane.Options{
				Name: t.Name, Address: t.Address, User: t.User, Password: t.Password.Read, CA: t.CA, MapDir: t.MapDir, Version: t.APIVersion,
				Deceives: t.DeceiveStatus != 0,
			})
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			return dataplane.Setup{
				Name: t.Name, Address: t.Address, User: t.User, MapDir: t.MapDir,
				TrustedProxies: c.Client.TrustedProxies, IgnoreHeaders: c.Client.IgnoreHeaders,
				Deception: deception(t), Tarpit: t.Tarpit, TarpitConnections: t.TarpitConnections,
			}.Render()
		},
	},
	nginx.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			options := nginx.Options{Name: t.Name, Address: t.Address, Token: t.Token.Read}
			if t.CA != "" {
				ca, err := os.ReadFile(t.CA)
				if err != nil {
					return nil, fmt.Errorf("read ca: %w", err)
				}
				options.CA = ca
			}
			return nginx.New(options)
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			return nginx.Setup{
				Name:           t.Name,
				Address:        t.Address,
				Dir:            t.ConfDir,
				TrustedProxies: c.Client.TrustedProxies,
				IgnoreHeaders:  c.Client.IgnoreHeaders,
			}.Render()
		},
	},
	envoy.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			o := envoy.Options{Name: t.Name, Address: t.Address, Certificate: t.Certificate, CA: t.CA, IgnoreHeaders: c.Client.IgnoreHeaders}
			if !t.Token.IsZero() {
				o.Token = t.Token.Read
			}
			if !t.Key.IsZero() {
				o.Key = t.Key.Read
			}
			return envoy.New(o)
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			return envoy.Setup{
				Name:           t.Name,
				Address:        t.Address,
				TrustedProxies: c.Client.TrustedProxies,
				Token:          !t.Token.IsZero(),
				TLS:            t.Certificate != "",
				ClientTLS:      t.CA != "",
			}.Render()
		},
	},
	webhook.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return webhook.New(webhook.Options{Name: t.Name, URL: t.Address, CA: t.CA, Secrets: secrets(t.Secret, t.SecretPrevious)})
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return webhook.Setup{URL: t.Address}.Render()
		},
	},
	nginxplus.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			o := nginxplus.Options{Name: t.Name, Address: t.Address, CA: t.CA, User: t.User}
			if !t.Password.IsZero() {
				o.Password = t.Password.Read
			}
			var err error
			if o.Rates, err = rates(c); err != nil {
				return nil, err
			}
			return nginxplus.New(o)
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			rates, err := rates(c)
			if err != nil {
				return nil, err
			}
			return nginxplus.Setup{Name: t.Name, Address: t.Address, TrustedProxies: c.Client.TrustedProxies, Rates: rates}.Render()
		},
	},
	f5bigip.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return f5bigip.New(f5bigip.Options{
				Name: t.Name, Address: t.Address, User: t.User, Password: t.Password.Read, CA: t.CA, Partition: t.Partition,
			})
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			return f5bigip.Setup{
				Name: t.Name, Address: t.Address, User: t.User, Partition: t.Partition, TrustedProxies: c.Client.TrustedProxies,
			}.Render()
		},
	},
	netscaler.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return netscaler.New(netscaler.Options{
				Name: t.Name, Address: t.Address, User: t.User, Password: t.Password.Read, CA: t.CA,
			})
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return netscaler.Setup{Name: t.Name, Address: t.Address, User: t.User}.Render()
		},
	},
	nginxfile.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			rates, err := rates(c)
			if err != nil {
				return nil, err
			}
			return nginxfile.New(nginxfile.Options{
				Name: t.Name, Address: t.Address, Dir: t.ConfDir, PIDFile: t.PIDFile, Program: t.Program, Interval: t.ReloadInterval, Rates: rates,
			})
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			rates, err := rates(c)
			if err != nil {
				return nil, err
			}
			return nginxfile.Setup{
				Name: t.Name, Address: t.Address, Dir: t.ConfDir, PIDFile: t.PIDFile, TrustedProxies: c.Client.TrustedProxies, Rates: rates,
			}.Render()
		},
	},
	awswaf.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			o := awswaf.Options{
				Name: t.Name, Endpoint: t.Address, Region: t.Region, CloudFront: t.Scope == "cloudfront", Group: t.Group,
				AccessKey: t.AccessKey, Secret: t.Secret.Read,
			}
			if !t.SessionToken.IsZero() {
				o.SessionToken = t.SessionToken.Read
			}
			var err error
			if o.Rates, err = rates(c); err != nil {
				return nil, err
			}
			return awswaf.New(o)
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			rates, err := rates(c)
			if err != nil {
				return nil, err
			}
			return awswaf.Setup{Name: t.Name, Region: t.Region, CloudFront: t.Scope == "cloudfront", Group: t.Group, Rates: rates}.Render()
		},
	},
	cloudflare.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return cloudflare.New(cloudflare.Options{
				Name: t.Name, Account: t.Account, Zones: t.Zones, Token: t.Token.Read, Address: t.Address, Capacity: t.Capacity,
			})
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return cloudflare.Setup{Name: t.Name, Account: t.Account, Zones: t.Zones, Address: t.Address, Capacity: t.Capacity}.Render()
		},
	},
	nftables.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			ports, err := t.PortNumbers()
			if err != nil {
				return nil, err
			}
			return nftables.New(nftables.Options{Name: t.Name, Ports: ports})
		},
		setup: func(t *config.Target, c *config.Config) (io.WriterTo, error) {
			ports, err := t.PortNumbers()
			if err != nil {
				return nil, err
			}
			return nftables.Setup{Name: t.Name, Ports: ports, TrustedProxies: c.Client.TrustedProxies}.Render()
		},
		capabilities: []int{unix.CAP_NET_ADMIN},
	},
	gobgp.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			o, err := t.GoBGP()
			if err != nil {
				return nil, err
			}
			return gobgp.New(o)
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return gobgp.Setup{Name: t.Name, Address: t.Address, Method: t.Method}.Render()
		},
	},
	crowdsec.Kind: {
		open: func(t *config.Target, c *config.Config) (mitigate.Target, error) {
			return crowdsec.New(crowdsec.Options{
				Name: t.Name, Address: t.Address, Keys: t.Token.Read, Certificate: t.Certificate, Key: t.Key.Read,
				Journal: filepath.Join(c.State.Dir, "published-"+t.Name),
			})
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return crowdsec.Setup{Address: t.Address, TLS: t.Certificate != ""}.Render()
		},
	},
	feed.Kind: {
		open: func(t *config.Target, _ *config.Config) (mitigate.Target, error) {
			return feed.New(feed.Options{Name: t.Name, Address: t.Address, Keys: t.Token.Read, Certificate: t.Certificate, Key: t.Key.Read})
		},
		setup: func(t *config.Target, _ *config.Config) (io.WriterTo, error) {
			return feed.Setup{Address: t.Address, TLS: t.Certificate != ""}.Render()
		},
	},
}

// deception is what an HAProxy answers whom it deceives; nil: nobody is deceived there.
func deception(t *config.Target) *haproxy.Deception {
	if t.DeceiveStatus == 0 {
		return nil
	}
	return &haproxy.Deception{Status: t.DeceiveStatus, Type: t.DeceiveType}
}

// rates are what the policies limit to: of load balancers whose rates stand in their own
// configuration, what is to stand there. A configuration that was loaded has no policies
// that are wrong.
func rates(c *config.Config) (list []detect.Rate, err error) {
	policies, err := c.PolicySet()
	if err != nil {
		return nil, err
	}
	for _, p := range policies.Policies() {
		if p.Action == detect.ActionRateLimit {
			list = append(list, p.Rate)
		}
	}
	return list, nil
}

// sessionKey is the key by which a target is to know sessions; nil if it is not to.
func sessionKey(t *config.Target, c *config.Config) ([]byte, error) {
	if !t.Sessions {
		return nil, nil
	}
	site, err := c.SiteKey()
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	return content.KindKey(site, content.KindToken), nil
}

// secrets reads those that there are, at each use.
func secrets(all ...config.Secret) func() ([][]byte, error) {
	return func() (list [][]byte, err error) {
		for _, s := range all {
			if s.IsZero() {
				continue
			}
			secret, err := s.Read()
			if err != nil {
				return nil, err
			}
			list = append(list, secret)
		}
		return list, nil
	}
}

// Capabilities are the privileges that the targets go on needing, those of
// linux/capability.h by their numbers; mostly none.
func Capabilities(c *config.Config) (list []int) {
	for i := range c.Mitigate.Targets {
		list = append(list, targetKinds[c.Mitigate.Targets[i].Type].capabilities...)
	}
	return list
}

// Targets makes the load balancers; it does not reach out to them.
func Targets(c *config.Config) ([]mitigate.Target, error) {
	var targets []mitigate.Target
	for i := range c.Mitigate.Targets {
		t := &c.Mitigate.Targets[i]
		target, err := targetKinds[t.Type].open(t, c)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// TargetSetup is what a target, which may have a type alone, needs in its own
// configuration.
func TargetSetup(t *config.Target, c *config.Config) (io.WriterTo, error) {
	return targetKinds[t.Type].setup(t, c)
}
