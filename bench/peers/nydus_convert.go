// Converts an image that a containerd has into one that Nydus streams: RAFS v6, its defaults.
//
//	nydus-convert CONTAINERD-SOCKET NAMESPACE NYDUS-IMAGE WORK-DIRECTORY SOURCE TARGET
//
// The conversion is nydus-snapshotter's own library; a program around it is in no module of its own.
package main

import (
	"context"
	"log"
	"os"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"

	nydus "github.com/containerd/nydus-snapshotter/pkg/converter"
)

func convert(socket, namespace, builder, work, source, target string) error {
	containerd, err := client.New(socket)
	if err != nil {
		return err
	}
	defer containerd.Close()
	ctx := namespaces.WithNamespace(context.Background(), namespace)
	ctx, done, err := containerd.WithLease(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = done(ctx) }()
	layers := nydus.LayerConvertFunc(nydus.PackOption{WorkDir: work, BuilderPath: builder, FsVersion: "6"})
	hooks := converter.ConvertHooks{PostConvertHook: nydus.ConvertHookFunc(
		nydus.MergeOption{WorkDir: work, BuilderPath: builder, FsVersion: "6", OCI: true})}
	platform := platforms.Only(platforms.DefaultSpec())
	_, err = converter.Convert(ctx, containerd, target, source, converter.WithPlatform(platform),
		converter.WithIndexConvertFunc(converter.IndexConvertFuncWithHook(layers, true, platform, hooks)))
	return err
}

func main() {
	if len(os.Args) != 7 {
		log.Fatal("usage: nydus-convert CONTAINERD-SOCKET NAMESPACE NYDUS-IMAGE WORK-DIRECTORY SOURCE TARGET")
	}
	a := os.Args
	if err := convert(a[1], a[2], a[3], a[4], a[5], a[6]); err != nil {
		log.Fatal(err)
	}
}
