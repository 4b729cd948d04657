package traffic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// channel is a way to the bank.
type channel uint8

const (
	mobile channel = iota
	web
	ofx
	channels = iota
)

// software is a client program as its requests show it: header fields in their
// order and spelling. Those without a value are filled in where a request has
// one and left out where not.
type software struct {
	name    string
	channel channel
	fields  [][2]string
	ja4     string
	// bootstrap is how many calls the program makes before a login.
	bootstrap int
	weight    float64 // among the customers of its channel
}

func (s *software) clone(name string) *software {
	c := *s
	c.name = name
	c.fields = append([][2]string(nil), s.fields...)
	return &c
}

// index is the place of a field; -1: it is not there.
func (s *software) index(name string) int {
	return slices.IndexFunc(s.fields, func(f [2]string) bool { return f[0] == name })
}

// set changes the value of a field, if it is there.
func (s *software) set(name, value string) {
	if i := s.index(name); i >= 0 {
		s.fields[i][1] = value
	}
}

// get is the value of a field; "" without it.
func (s *software) get(name string) string {
	if i := s.index(name); i >= 0 {
		return s.fields[i][1]
	}
	return ""
}

// remove takes a field out.
func (s *software) remove(name string) {
	s.fields = slices.DeleteFunc(s.fields, func(f [2]string) bool { return f[0] == name })
}

// insert puts a field at a place.
func (s *software) insert(at int, field [2]string) {
	s.fields = append(s.fields[:at], append([][2]string{field}, s.fields[at:]...)...)
}

var (
	languages  = []string{"en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.9", "es-ES,es;q=0.9,en;q=0.7", "en-US,en;q=0.5"}
	models     = []string{"Pixel 8", "Pixel 7a", "SM-A546B", "SM-S918B", "SM-G991B", "2201117TY", "M2101K6G", "CPH2529", "moto g84 5G", "XQ-DC54", "V2227A", "A142"}
	appHeaders = [][2]string{{"X-App-Version", ""}, {"X-Client-Platform", "mobile"}, {"X-Device-Class", "phone"}, {"X-Api-Level", "34"}, {"X-Build-Flavor", "prod"}}
	libraries  = []string{"Alamofire/5.9.1", "CFNetwork/1494.0.7 Darwin/23.4.0", "Moya/15.0.0"}
)

// customerSoftware is what the customers of a bank use. Its apps are the bank's
// own, so their names, fields and order are drawn; browsers and finance programs
// are those of all the world.
func customerSoftware(r *rand.Rand, app string) [channels][]*software {
	var all [channels][]*software
	newest := []float64{0.04, 0.06, 0.1, 0.25, 0.55}
	major := 3 + r.IntN(6)
	deviceInAgent := r.Float64() < 0.3
	extra := append([][2]string(nil), appHeaders...)
	r.Shuffle(len(extra), func(i, j int) { extra[i], extra[j] = extra[j], extra[i] })
	iosExtra, androidExtra := extra[:1+r.IntN(2)], extra[2:3+r.IntN(2)]
	changed := 1 + r.IntN(4) // the version in which a field came, and perhaps a library changed
	telling := r.Float64() < 0.5
	library := pick(r, libraries)
	iosOrder, androidOrder := r.Uint64(), r.Uint64()
	iosShare := between(r, 0.3, 0.6)
	language := pick(r, languages)
	for v, share := range newest {
		version := fmt.Sprintf("%d.%d.%d", major, 8+v, v%3)
		ios := &software{name: "iOS app " + version, channel: mobile, bootstrap: 1, weight: iosShare * share, fields: [][2]string{
			{"Host", ""}, {"Content-Type", ""}, {"Connection", "keep-alive"}, {"Accept", "application/json"},
			{"User-Agent", fmt.Sprintf("%s/%s (com.%s.app; build:%d; iOS 17.%d.1) %s", app, version, strings.ToLower(app), 1100+7*v, 2+v, library)},
			{"Authorization", ""}, {"Accept-Language", language}, {"Content-Length", ""}, {"Accept-Encoding", "gzip, deflate, br"},
		}}
		for _, f := range iosExtra {
			ios.insert(2+int(iosOrder%4), [2]string{f[0], valueOr(f[1], version)})
		}
		ios.ja4 = "t13d2014h2_a09f3c656075_14788d8d241b"
		if v >= changed {
			ios.insert(5+int(iosOrder%3), [2]string{"X-Request-Source", "app"})
			if telling {
				ios.set("Accept-Encoding", "br;q=1.0, gzip;q=0.9, deflate;q=0.8")
			}
		}
		all[mobile] = append(all[mobile], ios)
		android := &software{name: "Android app " + version, channel: mobile, bootstrap: 1 + int(androidOrder>>8&1), weight: (1 - iosShare) * share, fields: [][2]string{
			{"Authorization", ""}, {"Accept", "application/json"}, {"Content-Type", ""}, {"Content-Length", ""},
			{"Host", ""}, {"Connection", "Keep-Alive"}, {"Accept-Encoding", "gzip"}, {"User-Agent", "okhttp/4.12.0"},
		}}
		for _, f := range androidExtra {
			android.insert(1+int(androidOrder%3), [2]string{f[0], valueOr(f[1], version)})
		}
		if v >= changed {
			android.insert(2+int(androidOrder%3), [2]string{"X-Trace-Level", "basic"})
			if telling {
				android.insert(len(android.fields), [2]string{"Accept-Language", language})
			}
		}
		android.ja4 = "t13d1613h2_46e7e9700bed_45f260be83e2"
		if !deviceInAgent {
			all[mobile] = append(all[mobile], android)
			continue
		}
		for m, model := range models {
			a := android.clone(android.name + " on " + model)
			a.set("User-Agent", fmt.Sprintf("%s/%s (Android %d; %s) okhttp/4.12.0", app, version, 12+m%4, model))
			a.weight /= float64(len(models))
			all[mobile] = append(all[mobile], a)
		}
	}
	all[web], all[ofx] = browsers(), financePrograms()
	return all
}

func valueOr(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

// browsers are those in use, by their own order of fields.
func browsers() []*software {
	const (
		chromeAccept  = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
		firefoxAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
		safariAccept  = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	)
	chromium := func(agent, language string) [][2]string {
		return [][2]string{
			{"Host", ""}, {"Connection", "keep-alive"}, {"Content-Length", ""}, {"Upgrade-Insecure-Requests", "1"}, {"Content-Type", ""}, {"User-Agent", agent},
			{"Accept", chromeAccept}, {"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Mode", "navigate"}, {"Sec-Fetch-Dest", "document"},
			{"Accept-Encoding", "gzip, deflate, br"}, {"Accept-Language", language}, {"Cookie", ""},
		}
	}
	firefox := func(agent, language string) [][2]string {
		return [][2]string{
			{"Host", ""}, {"User-Agent", agent}, {"Accept", firefoxAccept}, {"Accept-Language", language}, {"Accept-Encoding", "gzip, deflate, br"},
			{"Content-Type", ""}, {"Content-Length", ""}, {"Connection", "keep-alive"}, {"Cookie", ""}, {"Upgrade-Insecure-Requests", "1"},
			{"Sec-Fetch-Dest", "document"}, {"Sec-Fetch-Mode", "navigate"}, {"Sec-Fetch-Site", "same-origin"},
		}
	}
	safari := func(agent, language string) [][2]string {
		return [][2]string{
			{"Host", ""}, {"Content-Type", ""}, {"Accept", safariAccept}, {"Sec-Fetch-Site", "same-origin"}, {"Accept-Language", language},
			{"Accept-Encoding", "gzip, deflate, br"}, {"Sec-Fetch-Mode", "navigate"}, {"User-Agent", agent}, {"Content-Length", ""},
			{"Connection", "keep-alive"}, {"Sec-Fetch-Dest", "document"}, {"Cookie", ""},
		}
	}
	const chromeTLS, firefoxTLS, safariTLS = "t13d1516h2_8daaf6152771_02713d6af862", "t13d1715h2_5b57614c22b0_7121afd63204", "t13d2014h2_a09f3c656075_14788d8d241b"
	chromeVersions, firefoxVersions, safariVersions := []string{"126", "125", "124", "119", "114", "109"}, []string{"127", "126", "115", "102"}, []string{"17.5", "17.4", "16.6"}
	var list []*software
	for _, b := range []struct {
		name, agent, ja4 string // % in agent: the version
		fields           func(string, string) [][2]string
		weight           float64
		versions         []string
	}{
		{"Chrome on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%.0.0.0 Safari/537.36", chromeTLS, chromium, 36, chromeVersions},
		{"Chrome on macOS", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%.0.0.0 Safari/537.36", chromeTLS, chromium, 8, chromeVersions},
		{"Chrome on Android", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%.0.0.0 Mobile Safari/537.36", chromeTLS, chromium, 14, chromeVersions},
		{"Edge", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%.0.0.0 Safari/537.36 Edg/%.0.0.0", chromeTLS, chromium, 12, chromeVersions},
		{"Firefox on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:%.0) Gecko/20100101 Firefox/%.0", firefoxTLS, firefox, 7, firefoxVersions},
		{"Firefox on Linux", "Mozilla/5.0 (X11; Linux x86_64; rv:%.0) Gecko/20100101 Firefox/%.0", firefoxTLS, firefox, 2, firefoxVersions},
		{"Safari on iPhone", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/% Mobile/15E148 Safari/604.1", safariTLS, safari, 14, safariVersions},
		{"Safari on macOS", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/% Safari/605.1.15", safariTLS, safari, 7, safariVersions},
	} {
		for v, version := range b.versions {
			for i, language := range languages[:3] {
				list = append(list, &software{
					name: b.name + " " + version + ", " + language[:2], channel: web, ja4: b.ja4,
					weight: b.weight * []float64{0.75, 0.14, 0.05, 0.02, 0.02, 0.02}[v] * []float64{0.7, 0.2, 0.1}[i],
					fields: b.fields(strings.ReplaceAll(b.agent, "%", version), language),
				})
			}
		}
	}
	return list
}

// financePrograms speak OFX.
func financePrograms() []*software {
	return []*software{
		{name: "Quicken", channel: ofx, weight: 60, ja4: "t12d1909h1_d83cc789557e_7af1ed941c26", fields: [][2]string{
			{"Content-Type", ""}, {"Host", ""}, {"Accept", "*/*, application/x-ofx"}, {"User-Agent", "InetClntApp/3.0"}, {"Content-Length", ""}, {"Connection", "close"}, {"Cache-Control", "no-cache"}}},
		{name: "GnuCash", channel: ofx, weight: 15, ja4: "t13d3112h1_e8f1e7e78f70_375ca2c5e164", fields: [][2]string{
			{"Host", ""}, {"User-Agent", "AqBanking/6.5.4"}, {"Accept", "*/*"}, {"Content-Type", ""}, {"Content-Length", ""}, {"Connection", "close"}}},
		{name: "Banktivity", channel: ofx, weight: 15, ja4: "t13d2014h2_a09f3c656075_14788d8d241b", fields: [][2]string{
			{"Host", ""}, {"Content-Type", ""}, {"Accept", "*/*"}, {"User-Agent", "Banktivity/9.4 CFNetwork/1494.0.7 Darwin/23.4.0"}, {"Content-Length", ""}, {"Accept-Language", "en-GB,en;q=0.9"}, {"Accept-Encoding", "gzip, deflate, br"}, {"Connection", "keep-alive"}}},
		{name: "Moneydance", channel: ofx, weight: 10, ja4: "t13d4907h1_0d8feac7bc37_7395dae3b2f3", fields: [][2]string{
			{"User-Agent", "Java/17.0.11"}, {"Host", ""}, {"Accept", "application/x-ofx"}, {"Connection", "keep-alive"}, {"Content-Type", ""}, {"Content-Length", ""}}},
	}
}
