switch (x) { case 1: { } /a/; default: y = z ? {a} / 2 : a++ / 2 }
a<!--b
label: { }
if (x) /"/.test(y)
