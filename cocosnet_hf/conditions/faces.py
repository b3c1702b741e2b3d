"""CelebA-HQ's face parts: their names, orders and colours."""

# The order of CelebA-HQ masks in the official CoCosNet data (official networks, 8.2) and the order
# of the label maps that CelebAMask-HQ users merge themselves; `glasses` is the part file `eye_g`.
OFFICIAL_FACE_CLASSES = (
    "background skin hair l_brow r_brow l_eye r_eye l_ear r_ear nose u_lip mouth l_lip neck cloth "
    "hat glasses ear_r neck_l"
).split()
CELEBAMASK_FACE_CLASSES = (
    "background skin nose glasses l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat "
    "ear_r neck_l neck cloth"
).split()
# In the official order, the colours in which CelebAMask-HQ's own tools draw its classes.
FACE_COLORS = (
    "#000000 #cc0000 #0000cc #00ffff #ffcccc #3333ff #cc00cc #663300 #ff0000 #4c9900 #ffff00 "
    "#66cc00 #000099 #ff9933 #00cc00 #ff3399 #cccc00 #00cccc #003300"
).split()
