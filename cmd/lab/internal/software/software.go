// Package software speaks HTTP/1.1 as given client programs do: with their
// header fields, in their order and spelling, on kept-alive or fresh
// connections. net/http orders and adds fields as it sees fit, which would
// make all the laboratory's people look like one program.
//
// A [Client] is one installation of a program with at most one open
// connection. It is for one goroutine at a time.
package software

import "offpath/cmd/lab/internal/bank"

// Software is a client program.
type Software struct {
	Name    string
	Channel bank.Channel
	Fresh   bool // opens a connection for each request
	// Fields are its header fields in order. Those without a value are
	// filled in where a request has one and left out where not.
	Fields [][2]string
}

// Hosts are the bank's names by channel.
var Hosts = [bank.Channels]string{bank.Mobile: "api.bank.example", bank.Web: "www.bank.example", bank.OFX: "ofx.bank.example"}

// The customers' programs.
var (
	IPhone = Software{Name: "iPhone app", Channel: bank.Mobile, Fields: [][2]string{
		{"Host"}, {"Content-Type"}, {"Cookie"}, {"Connection", "keep-alive"}, {"Accept", "application/json"},
		{"User-Agent", "NorthBank/5.3.1 (com.northbank.app; build:1184; iOS 17.5.1) Alamofire/5.9.1"},
		{"Authorization"}, {"Accept-Language", "en-GB;q=1.0, de-DE;q=0.9"}, {"Content-Length"}, {"Accept-Encoding", "gzip, deflate, br"}}}
	Android = Software{Name: "Android app", Channel: bank.Mobile, Fields: [][2]string{
		{"Authorization"}, {"Accept", "application/json"}, {"X-App-Version", "5.3.0"}, {"Content-Type"}, {"Content-Length"},
		{"Host"}, {"Connection", "Keep-Alive"}, {"Accept-Encoding", "gzip"}, {"Cookie"}, {"User-Agent", "okhttp/4.12.0"}}}
	Chrome = Software{Name: "Chrome", Channel: bank.Web, Fields: [][2]string{
		{"Host"}, {"Connection", "keep-alive"}, {"Content-Length"}, {"Cache-Control", "max-age=0"}, {"Upgrade-Insecure-Requests", "1"}, {"Content-Type"},
		{"User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
		{"Accept-Encoding", "gzip, deflate"}, {"Accept-Language", "de-DE,de;q=0.9,en;q=0.8"}, {"Cookie"}}}
	Firefox = Software{Name: "Firefox", Channel: bank.Web, Fields: [][2]string{
		{"Host"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
		{"Accept-Language", "en-US,en;q=0.5"}, {"Accept-Encoding", "gzip, deflate"}, {"Content-Type"}, {"Content-Length"},
		{"Connection", "keep-alive"}, {"Cookie"}, {"Upgrade-Insecure-Requests", "1"}}}
	Quicken = Software{Name: "Quicken", Channel: bank.OFX, Fresh: true, Fields: [][2]string{
		{"Content-Type"}, {"Host"}, {"Accept", "*/*, application/x-ofx"}, {"User-Agent", "InetClntApp/3.0"}, {"Content-Length"},
		{"Connection", "close"}, {"Cache-Control", "no-cache"}}}
)

// The attackers' programs.
var (
	Requests = Software{Name: "python-requests", Channel: bank.Mobile, Fields: [][2]string{
		{"Host"}, {"User-Agent", "python-requests/2.31.0"}, {"Accept-Encoding", "gzip, deflate"}, {"Accept", "*/*"},
		{"Connection", "keep-alive"}, {"X-Forwarded-For"}, {"Content-Length"}, {"Content-Type"}}}
	// Mimic sends what the Android app sends, on fresh connections.
	Mimic = Software{Name: "mimic of the Android app", Channel: bank.Mobile, Fresh: true, Fields: Android.Fields}
	// FormBot fills the web form in.
	FormBot = Software{Name: "form bot", Channel: bank.Web, Fields: [][2]string{
		{"Host"}, {"User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Safari/537.36"},
		{"Content-Length"}, {"Content-Type"}, {"Accept", "*/*"}, {"Accept-Encoding", "gzip"}}}
)
