// Lists tar archives as Go's archive/tar reads them, one line an entry, in the form that
// tests/support/tar_listing.h gives. containerd unpacks images with this package, so what it reads
// is what an image means.
//
//	go run . ARCHIVE...
package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"strings"
)

// Contents above this are not read: a sparse file may claim any size.
const maxContent = 64 << 20

const xattrPrefix = "SCHILY.xattr."

func escaped(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if c := text[i]; c > ' ' && c <= '~' && c != '%' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02x", c)
		}
	}
	return out.String()
}

func typeOf(flag byte) string {
	switch flag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return "regular"
	case tar.TypeDir:
		return "directory"
	case tar.TypeSymlink:
		return "symlink"
	case tar.TypeLink:
		return "hardlink"
	case tar.TypeChar:
		return "char"
	case tar.TypeBlock:
		return "block"
	case tar.TypeFifo:
		return "fifo"
	case tar.TypeXGlobalHeader:
		return "global"
	}
	return "other"
}

func line(header *tar.Header, content io.Reader) (string, error) {
	kind := typeOf(header.Typeflag)
	if kind == "global" {
		return "global name=" + escaped(header.Name), nil
	}
	out := fmt.Sprintf("%s name=%s mode=%o uid=%d gid=%d mtime=%d.%09d", kind, escaped(header.Name),
		header.Mode&07777, header.Uid, header.Gid, header.ModTime.Unix(), header.ModTime.Nanosecond())
	switch kind {
	case "symlink", "hardlink":
		out += " link=" + escaped(header.Linkname)
	case "char", "block":
		out += fmt.Sprintf(" device=%d:%d", header.Devmajor, header.Devminor)
	case "regular", "other":
		out += fmt.Sprintf(" size=%d", header.Size)
		if header.Size <= maxContent {
			hash := crc32.NewIEEE()
			if _, err := io.Copy(hash, content); err != nil {
				return "", err
			}
			out += fmt.Sprintf(" crc=%08x", hash.Sum32())
		}
	}
	var keys []string
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, xattrPrefix) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		out += " xattr=" + escaped(key[len(xattrPrefix):]) + "=" + escaped(header.PAXRecords[key])
	}
	return out, nil
}

func list(path string, out io.Writer) {
	file, err := os.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer file.Close()
	reader := tar.NewReader(bufio.NewReader(file))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			var text string
			if text, err = line(header, reader); err == nil {
				fmt.Fprintln(out, text)
				continue
			}
		}
		fmt.Fprintln(out, "error")
		return
	}
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, path := range os.Args[1:] {
		if len(os.Args) > 2 {
			fmt.Fprintf(out, "== %s\n", path)
		}
		list(path, out)
	}
}
