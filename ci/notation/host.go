package notation

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// metadata lists the hosts that serve a cloud machine's secrets, in addition to
// link-local addresses.
var metadata = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal",
	"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
}

// IsLocalHost reports whether a host, with or without a port, is this machine, is on
// its link, or serves a cloud machine's secrets. The plan warns of a repository
// there, and phase 2 makes no request to such a host that only a release names.
func IsLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap().WithZone("")
		return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || slices.Contains(metadata, ip.String())
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	// Resolvers read 127.1 and 0x7f000001 as addresses.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return true
	}
	return last == "localhost" || strings.HasPrefix(host, "localhost.") || host == "ip6-localhost" || host == "ip6-loopback" || slices.Contains(metadata, host)
}
