module tar_listing

go 1.19
