# SPDX-License-Identifier: LGPL-2.1-or-later
# Each photograph of the folder IN at each of SIZES, into the folder OUT: make -f photos.mk -j8 IN=… OUT=… [SIZES=…] [CONVERT=…]
# A makefile as anybody would write it: nothing here knows of ssi.
SIZES = 2048 1280 640
CONVERT = convert
PHOTOS := $(notdir $(wildcard $(IN)/*))

# One thread each: make runs as many as there are processors, and the bytes are the same wherever they were made.
export OMP_NUM_THREADS = 1

all: $(foreach size,$(SIZES),$(PHOTOS:%=$(OUT)/$(size)-%))

define at_size
$(OUT)/$(1)-%: $(IN)/%
	@$(CONVERT) $$< -auto-orient -resize $(1)x$(1) -unsharp 0x1 -quality 85 -strip $$@
endef
$(foreach size,$(SIZES),$(eval $(call at_size,$(size))))

.DELETE_ON_ERROR:
